import Flow
import Testing

@testable import Firefly

/// What peers send is understood.
struct FireflyDecoderTests {
  @Test func allRelayedFireflies() throws {
    let lines = try Heard.relayed()
    #expect(lines.count == 200)
    for line in lines {
      let heard = try Heard.decode(line)
      #expect(line.contains(#""state": "\#(heard.state == .start ? "start" : "end")""#))
      #expect(line.contains(#""src-ip": "\#(heard.flow.source.address)""#), "\(line)")
      #expect(line.contains(#""dst-port": \#(heard.flow.destination.port)"#))
      #expect(line.contains(#""experiment-id": \#(heard.tag.experiment),"#))
      #expect(heard.namesOneFlow && heard.start != nil && (heard.end != nil) == (heard.state == .end))
      #expect(line.utf8.count == heard.json.upperBound)
    }
  }

  @Test func xrootd() throws {
    let names = ApplicationNames(own: "own")
    let heard = try Heard.decode(Heard.file("xrootd-end.txt"), applications: names)
    #expect(heard.state == .end && heard.tag.packed == 206 && names.name(of: heard.application) == "xrdcp")
    #expect(
      heard.flow
        == AnnouncedFlow(
          source: endpoint("2001:db8::1", 1094), destination: endpoint("2001:db8::2", 40000), transport: .tcp)
    )
    #expect(heard.transferred == Transferred(sent: 1_073_741_824, received: 1234))
    #expect(heard.start == WallClockTime(microseconds: 1_727_784_000_000_123))
    #expect(heard.end == WallClockTime(microseconds: 1_727_784_005_123_456))
  }

  @Test func dCache() throws {
    let end = try Heard.decode(Heard.file("dcache-end.txt"))
    #expect(end.end == WallClockTime(microseconds: 1_768_468_353_500_123))
    #expect(end.transferred.sent == 52_428_800)
    let start = try Heard.decode(Heard.file("dcache-start-port0.txt"))
    #expect(start.state == .start && !start.namesOneFlow && start.flow.source.port == 0)
    #expect(start.flow.source.address == Address("192.0.2.44") && start.transferred == Transferred())
  }

  @Test func flowdAndFlowdGo() throws {
    let heard = try Heard.decode(Heard.file("flowd-sample.txt"))
    #expect(heard.state == .start && heard.end == nil, "a start has no end, whatever it says")
    // flowd-go's own samples have an experiment that no SciTag can hold; all else is read.
    for name in ["flowd-go-start.json", "flowd-go-end.json"] {
      let text = try Heard.file(name)
      #expect(Heard.error(text)?.reason == .tag(.experimentOutOfRange(3333)))
      let heard = try Heard.decode(text.replacing("3333", with: "333"))
      #expect(heard.tag == (try SciTag(experiment: 333, activity: 12)))
      #expect(heard.namesOneFlow == (name == "flowd-go-end.json"))
    }
  }

  @Test func theEncodersOwn() throws {
    let names = ApplicationNames(own: "own")
    for state in [.start, .ongoing, .end] as [FlowEvent.State] {
      for (key, orientation) in [(ipv6Key, Orientation.outbound), (ipv4Key, .inbound)] {
        for format in FireflyFormat.allCases {
          let announcement = Announcement(
            state, key, orientation, tag, start: started, end: ended, usage: Usage(packets: 1, bytes: 99))
          let text = try encode(announcement, application: #"a "quoted" \ ü 😀"#, as: format)
          let heard = try Heard.decode(text, applications: names)
          #expect(heard.state == state && heard.flow == announcement.flow && heard.tag == tag)
          #expect(heard.start == started && heard.end == (state == .end ? ended : nil))
          #expect(names.name(of: heard.application) == #"a "quoted" \ ü 😀"#)
          #expect(heard.transferred == (state == .start ? Transferred() : announcement.transferred))
          let json = try encode(announcement, application: #"a "quoted" \ ü 😀"#)
          #expect(text.utf8.suffix(heard.json.count).elementsEqual(json.utf8))
          #expect(heard.json.upperBound == text.utf8.count && heard.json.count == json.utf8.count)
        }
      }
    }
  }

  @Test(arguments: [
    "", "- ", "<134>1  host app - firefly-json - ", "Feb  1 18:54:27 relay 1 - \u{fffd} ", "\n",
  ])
  func anyHeader(header: String) throws {
    #expect(try Heard.decode(header + Heard.firefly()).tag.packed == 206)
    #expect(try Heard.decode(header + Heard.firefly() + "\r\n\0\0 ").tag.packed == 206)
    #expect(try Heard.decode([0xff, 0xfe] + Array(Heard.firefly().utf8)).tag.packed == 206)
  }

  @Test func numbers() throws {
    for text in ["1094", "1094.0", "1.094e3", "109400E-2", "10940.00e-1", "1094e0", "0.1094e+4"] {
      #expect(try Heard.decode(Heard.firefly(sourcePort: text)).flow.source.port == 1094, "\(text)")
    }
    for text in ["-1", "65536", "1.5", "1e99999999999", "null", #""1094""#, "true", "[1094]", "{}"] {
      let reason = Heard.error(Heard.firefly(sourcePort: text))?.reason
      #expect(reason == (text == "null" ? .missing(.sourcePort) : .value(.sourcePort)), "\(text)")
    }
    for text in ["01", "+1", ".5", "1.", "1e", "0x1", "-", "1_000", "NaN"] {
      #expect(Heard.error(Heard.firefly(sourcePort: text)) != nil, "\(text)")
    }
    let cases: [(String, UInt64?)] = [
      ("6.4e6", 6_400_000), ("6.45", 6), ("18446744073709551615", .max), ("18446744073709551616", nil),
      ("-3", nil),
      ("-0", 0), ("1e-400", 0), ("0e9999", 0), ("123456789012345678901234567890e-20", 1_234_567_890),
      ("1e19", 10_000_000_000_000_000_000),
    ]
    for (text, value) in cases {
      let heard = try Heard.decode(Heard.firefly(state: #""end""#, usage: #"{"sent":\#(text)}"#))
      #expect(heard.transferred == Transferred(sent: value), "\(text)")
    }
    #expect(try Heard.decode(Heard.firefly(usage: "{}")).transferred == Transferred())
  }

  @Test func tags() throws {
    for (experiment, activity, packed) in [
      (0, 0, 0), (1, 0, 64), (511, 63, 32767), (512, 1, 32769), (1023, 63, 65535),
    ] {
      let heard = try Heard.decode(Heard.firefly(experiment: "\(experiment)", activity: "\(activity)"))
      #expect(Int(heard.tag.packed) == packed)
    }
    let pasted = try #require(Heard.error(Heard.firefly(experiment: "196664")))
    #expect("\(pasted)".contains("196664 is the flow label of cms/Analysis Input (206)"), "\(pasted)")
    #expect(Heard.error(Heard.firefly(activity: "64"))?.reason == .tag(.activityOutOfRange(64)))
    #expect(
      Heard.error(Heard.firefly(experiment: "1e18"))?.reason
        == .tag(.experimentOutOfRange(1_000_000_000_000_000_000)))
  }

  @Test func addresses() throws {
    let mapped = try Heard.decode(
      Heard.firefly(source: #""::ffff:192.0.2.1""#, destination: #""198.51.100.3""#))
    #expect(mapped.flow.source.address == Address("192.0.2.1"), "the addresses say IPv4, whatever afi says")
    #expect(
      try Heard.decode(Heard.firefly(source: #""fe80::1%eth0""#)).flow.source.address == Address("fe80::1"))
    #expect(Heard.error(Heard.firefly(source: #""192.0.2.1""#))?.reason == .mixedFamilies)
    for text in [#""""#, #""::g""#, #""host.example.org""#, #""1.2.3""#, #""2001:db8::1/64""#, #""[::1]""#] {
      #expect(Heard.error(Heard.firefly(source: text))?.reason == .value(.source), "\(text)")
    }
    #expect(try !Heard.decode(Heard.firefly(source: #""::""#)).namesOneFlow)
    #expect(try !Heard.decode(Heard.firefly(destinationPort: "0")).namesOneFlow)
  }

  @Test func wordsInAnyCase() throws {
    let heard = try Heard.decode(Heard.firefly(state: #""ONGOING""#, transport: #""Udp""#))
    #expect(heard.state == .ongoing && heard.flow.transport == .udp)
    #expect(Heard.error(Heard.firefly(state: #""started""#))?.reason == .value(.state))
    #expect(Heard.error(Heard.firefly(transport: #""icmp""#))?.reason == .value(.transport))
  }

  @Test func unknownKeysAnywhere() throws {
    let nest = String(repeating: "[", count: 15) + "1" + String(repeating: "]", count: 15)
    let heard = try Heard.decode(
      Heard.firefly(
        usage: #"{"a":[1,{"sent":5}],"sent":7}"#,
        more:
          #","netlink":{"rtt":12.345,"state":{"src-ip":"x","deep":\#(String(nest.dropFirst(2).dropLast(2)))},"#
          + #""t":[true,false,null,"\u00e9\n",-1.5e-3,{},[]]},"nest":\#(nest)"#))
    #expect(heard.transferred.sent == 7 && heard.flow.source.port == 1094)
    #expect(Heard.error(Heard.firefly(more: #","nest":[\#(nest)]"#))?.reason == .tooDeep)
    let hostile = String(repeating: "[", count: 60_000)
    #expect(Heard.error(#"{"a":"# + hostile)?.reason == .tooDeep)
    #expect(Heard.error(String(repeating: #"{"a":"#, count: 10_000))?.reason == .tooDeep)
  }

  @Test func escapesAndDuplicates() throws {
    let text = Heard.firefly(application: #""\u0078rd\u0063p \ud83d\ude00""#)
      .replacing(#""src-port":"#, with: #""\u0073rc-port":1,"src-port":"#)
      .replacing(#""src-ip""#, with: #""src\u002dip""#)
    let names = ApplicationNames(own: "own")
    let heard = try Heard.decode(text, applications: names)
    #expect(heard.flow.source == endpoint("2001:db8::1", 1094), "the last of two counts")
    #expect(names.name(of: heard.application) == "xrdcp 😀")
    for wrong in [#""\ud83d""#, #""\ude00""#, #""\ud83dx""#, #""\ud83d\u0041""#, #""\ud83d\n""#] {
      #expect(Heard.error(Heard.firefly(application: wrong))?.reason == .syntax(.surrogate), "\(wrong)")
    }
    for wrong in [#""\x""#, #""\u12g4""#, #""\u12"#] {
      #expect(Heard.error(Heard.firefly(application: wrong))?.reason == .syntax(.escape), "\(wrong)")
    }
    #expect(Heard.error(Heard.firefly(application: "\"a\nb\""))?.reason == .syntax(.controlCharacter))
  }

  @Test func applicationsAreTamed() throws {
    let names = ApplicationNames(own: "own")
    func name(_ text: String) throws -> String {
      names.name(of: try Heard.decode(Heard.firefly(application: text), applications: names).application)
    }
    #expect(try name(#""a\u001b[31m\u0000\u0085b\u007f""#) == "a_[31m___b_")
    #expect(try name("\"" + String(repeating: "é", count: 100) + "\"") == String(repeating: "é", count: 32))
    #expect(
      try name("\"x" + String(repeating: "é", count: 500) + "\"") == "x" + String(repeating: "é", count: 31))
    #expect(try name(#""""#) == "own")
    #expect(try name("null") == "own")
    // The same decoder, many names.
    var decoder = FireflyDecoder(applications: names)
    for round in 0..<2 {
      for number in 0..<200 {
        let heard = try decoder.decode(Array(Heard.firefly(application: "\"app \(number)\"").utf8).span)
        #expect(names.name(of: heard.application) == "app \(number)", "round \(round)")
      }
    }
  }

  @Test func whatIsMissingIsNamed() throws {
    let cases: [(String, FireflyError.Field)] = [
      ("state", .state), ("src-ip", .source), ("dst-ip", .destination), ("protocol", .transport),
      ("src-port", .sourcePort), ("dst-port", .destinationPort), ("experiment-id", .experiment),
      ("activity-id", .activity),
    ]
    for (key, field) in cases {
      let error = Heard.error(Heard.firefly().replacing("\"\(key)\"", with: "\"other\""))
      #expect(error?.reason == .missing(field), "\(key)")
    }
    #expect(Heard.error("{}")?.reason == .missing(.state))
    #expect(Heard.error(Heard.firefly(usage: "[]"))?.reason == .value(.usage))
    #expect(try Heard.decode(Heard.firefly().replacing("start-time", with: "x")).start == nil)
    let text = Heard.firefly(sourcePort: "70000")
    let place = text.prefix(upTo: try #require(text.firstRange(of: "70000")).lowerBound).utf8.count
    #expect(
      "\(try #require(Heard.error(text)))" == "byte \(place): flow-id.src-port: expected a port, 0 to 65535")
  }

  @Test func whatIsNoFirefly() {
    let cases: [(String, FireflyError.Reason)] = [
      ("", .noJSON), ("start tcp ::1 1 ::2 2 3 14", .noJSON), ("{", .syntax(.key)), ("{1:2}", .syntax(.key)),
      (#"{"a" 1}"#, .syntax(.colon)), (#"{"a":1 "b":2}"#, .syntax(.commaOrEnd)),
      (#"{"a":1,}"#, .syntax(.key)),
      (#"{"a":[1,]}"#, .syntax(.value)), (#"{"a":nul}"#, .syntax(.value)),
      (#"{"a":"b"#, .syntax(.endOfString)),
      (Heard.firefly() + "x", .syntax(.endOfText)), (Heard.firefly() + Heard.firefly(), .syntax(.endOfText)),
      (String(repeating: " ", count: 65_536) + "{}", .tooLarge),
    ]
    for (text, reason) in cases { #expect(Heard.error(text)?.reason == reason, "\(text.prefix(60))") }
    var bytes = Array(Heard.firefly(application: #""?""#).utf8)
    if let place = bytes.firstIndex(of: UInt8(ascii: "?")) {
      bytes[place] = 0xc3
      #expect(throws: FireflyError(.notUTF8, at: place)) { try Heard.decode(bytes) }
    }
  }

  @Test func whatTheTableIsTold() throws {
    let late = try Heard.decode(
      Heard.firefly(start: #""2030-01-01T00:00:00Z""#).replacing("\"start\"", with: "\"end\""))
    #expect(late.event(at: now).startTime == now, "a clock ahead of ours")
    #expect(late.event(at: now).origin == .firefly)
  }
}
