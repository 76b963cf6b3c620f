import Flow
import Testing

@testable import Marker

private func parse(_ text: String) throws(PipeLineError) -> FlowEvent? {
  let bytes = Array(text.utf8)
  return try PipeLineParser().parse(bytes.span)
}

@Suite struct PipeLineTests {
  /// Lines as StoRM WebDAV writes them, and what flowd-go accepts besides.
  @Test(arguments: [
    "start tcp 2001:db8:1::10 45678 2001:db8:2::20 8443 2 16",
    "START TCP 2001:DB8:1::10 45678 2001:db8:2::20 8443 2 16",
    "  start\ttcp \u{b} 2001:db8:1::10  45678 2001:db8:2::20 8443 2 16 \r",
    "start tcp 2001:db8:1::10 45678 2001:db8:2::20 8443 atlas 16",
    "start tcp 2001:db8:1::10 45678 2001:db8:2::20 8443 Atlas \"Production Output\"",
  ])
  func aFlow(line: String) throws {
    let event = try #require(try parse(line))
    #expect(event.state == .start && event.origin == .pipe && event.tag.packed == 144)
    #expect(event.flow.description == "tcp [2001:db8:1::10]:45678 > [2001:db8:2::20]:8443")
  }

  @Test func theOtherKinds() throws {
    #expect(try parse("end udp 192.0.2.10 2345 198.51.100.7 5777 3 14")?.state == .end)
    #expect(try parse("ongoing sctp ::1 1 ::2 65535 1023 63")?.flow.transport == .sctp)
    #expect(try parse("start tcp ::ffff:192.0.2.10 1 198.51.100.7 1 0 0")?.flow.source.address.isIPv4 == true)
  }

  @Test(arguments: ["", "  ", "\t\r"]) func blankLines(line: String) throws {
    #expect(try parse(line) == nil)
  }

  @Test(arguments: [
    ("begin tcp ::1 1 ::2 2 1 1", 1, "expected start or end"),
    ("start icmp ::1 1 ::2 2 1 1", 7, "expected a protocol: tcp, udp or sctp"),
    ("start tcp ::g 1 ::2 2 1 1", 11, "expected the source's IP address"),
    ("start tcp :: 1 ::2 2 1 1", 11, "expected the source's own address: a flow has two real ends"),
    ("start tcp ::1 0 ::2 2 1 1", 15, "expected the source's port, 1 to 65535"),
    ("start tcp ::1 65536 ::2 2 1 1", 15, "expected the source's port, 1 to 65535"),
    ("start tcp ::1 1 example.org 2 1 1", 17, "expected the destination's IP address"),
    ("start tcp ::1 1 ::2 -2 1 1", 21, "expected the destination's port, 1 to 65535"),
    ("start tcp ::1 1 192.0.2.1 2 1 1", 1, "expected both addresses of one family"),
    ("start tcp ::1 1 ::2 2 1", 24, "expected an activity, by number or name"),
    ("start tcp ::1 1 ::2 2", 22, "expected an experiment, by number or name"),
    ("start", 6, "expected a protocol: tcp, udp or sctp"),
    ("start tcp ::1 1 ::2 2 1 1 9", 27, "expected the end of the line: a flow has eight fields"),
    ("start tcp ::1 1 ::2 2 1024 1", 23, "experiment 1024 is out of range: it is 0 to 1023"),
    ("start tcp ::1 1 ::2 2 1 64", 25, "activity 64 is out of range: it is 0 to 63"),
    (
      "start tcp ::1 1 ::2 2 196664 1", 23,
      "196664 is the flow label of cms/Analysis Input (206); did you mean experiment 3, activity 14?"
    ),
    (
      "start tcp ::1 1 ::2 2 atlsa 1", 23,
      "no experiment is called \"atlsa\"; the registry at scitags.org lists them, a number works too"
    ),
    ("start tcp ::1 1 ::2 2 cms \"Analysis", 27, "expected a closing quote"),
  ])
  func isRefused(line: String, column: Int, reason: String) {
    do throws(PipeLineError) {
      _ = try parse(line)
      Issue.record("\(line) was accepted")
    } catch {
      #expect(error.column == column && error.reason == reason, "\(error)")
      #expect(error.text == line)
    }
  }

  @Test func controlCharactersDoNotReachTheLog() {
    do throws(PipeLineError) {
      _ = try parse("start\u{1b}[2J tcp")
      Issue.record("accepted")
    } catch {
      #expect(error.description == #"column 1: expected start or end, in "start\u{1b}[2J tcp""#)
    }
  }

  @Test func bytesThatAreNoText() {
    let bytes: [UInt8] = [0x73, 0xff, 0x00, 0x0d, 0xfe]
    #expect(throws: PipeLineError.self) { try PipeLineParser().parse(bytes.span) }
  }
}
