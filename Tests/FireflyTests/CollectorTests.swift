import Firefly
import Testing

struct CollectorTests {
  @Test(arguments: [
    ("collector.example.org", "collector.example.org", 10514),
    ("collector.example.org:10515", "collector.example.org", 10515),
    ("collector.example.org.:1", "collector.example.org.", 1),
    ("my_host-2", "my_host-2", 10514),
    ("192.0.2.1", "192.0.2.1", 10514),
    ("192.0.2.1:65535", "192.0.2.1", 65535),
    ("[2001:db8::1]", "2001:db8::1", 10514),
    ("[2001:db8::1]:514", "2001:db8::1", 514),
    ("[fe80::1%eth0]:514", "fe80::1%eth0", 514),
  ])
  func reads(text: String, host: String, port: UInt16) throws {
    let collector = try Collector(text)
    #expect(collector.host == host)
    #expect(collector.port == port)
    #expect(collector.format == .syslog)
    #expect(try Collector(collector.description) == collector)
  }

  @Test(arguments: [
    ("", CollectorError.empty),
    (":10514", .missingHost(":10514")),
    ("host:", .missingPort("host:")),
    ("[::1]:", .missingPort("[::1]:")),
    ("host:0", .invalidPort("0", in: "host:0")),
    ("host:65536", .invalidPort("65536", in: "host:65536")),
    ("host:+1", .invalidPort("+1", in: "host:+1")),
    ("host:syslog", .invalidPort("syslog", in: "host:syslog")),
    ("2001:db8::1", .unbracketedIPv6("2001:db8::1")),
    ("::1", .unbracketedIPv6("::1")),
    ("host:1:2", .unbracketedIPv6("host:1:2")),
    ("[2001:db8::1", .unclosedBracket("[2001:db8::1")),
    ("[2001:db8::g]", .invalidIPv6("2001:db8::g", in: "[2001:db8::g]")),
    ("[192.0.2.1]", .invalidIPv6("192.0.2.1", in: "[192.0.2.1]")),
    ("[::1]10514", .unexpectedText("10514", in: "[::1]10514")),
    ("192.0.2.256", .invalidIPv4("192.0.2.256")),
    ("10.1:514", .invalidIPv4("10.1")),
    ("[fe80::1]", .missingZone("fe80::1")),
    ("udp://host:10514", .scheme("udp://", in: "udp://host:10514")),
    ("host/x", .invalidCharacter("/", in: "host/x")),
    ("my host", .invalidCharacter(" ", in: "my host")),
    ("büro", .invalidCharacter("ü", in: "büro")),
    ("a..b", .invalidName("a..b")),
    (".", .invalidName(".")),
    (String(repeating: "x", count: 64), .invalidName(String(repeating: "x", count: 64))),
  ])
  func refuses(text: String, error: CollectorError) {
    #expect(throws: error) { try Collector(text) }
    #expect(error.description.contains(text.isEmpty ? "empty" : error.subject))
  }

  @Test func partsAreCheckedToo() throws {
    #expect(try Collector(host: "2001:db8::1", port: 514).description == "[2001:db8::1]:514")
    #expect(throws: CollectorError.invalidPort("0", in: "host")) { try Collector(host: "host", port: 0) }
    #expect(throws: CollectorError.invalidIPv6("::g", in: "::g")) { try Collector(host: "::g") }
  }
}

extension CollectorError {
  /// The part of the text that the error's description must name.
  fileprivate var subject: String {
    switch self {
    case .empty: ""
    case .missingHost(let text), .missingPort(let text), .unbracketedIPv6(let text),
      .unclosedBracket(let text), .invalidIPv4(let text), .missingZone(let text), .invalidName(let text):
      text
    case .invalidPort(let part, _), .invalidIPv6(let part, _), .unexpectedText(let part, _),
      .scheme(let part, _):
      part
    case .invalidCharacter(let character, _): String(character)
    }
  }
}
