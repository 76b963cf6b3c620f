import Firefly
import Flow
import Testing

/// Names and application strings that need care.
struct FireflyTextTests {
  static let announcement = Announcement(.start, ipv6Key, .outbound, tag, start: started)
  /// The firefly with every field at its longest.
  static let longest = Announcement(
    .end,
    FlowKey(
      local: endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 65535),
      remote: endpoint("2001:db8:7777:8888:9999:aaaa:bbbb:cccc", 65535), transport: .tcp),
    .outbound, SciTag(packed: .max), start: started, end: ended)
  static let most = Transferred(sent: .max, received: .max)

  private static func application(_ name: String) throws -> String {
    let json = try encode(announcement, application: name)
    let key = #""application":""#
    guard let start = json.firstRange(of: key) else { return json }
    return String(json[start.upperBound...].dropLast(3))
  }

  @Test(arguments: [
    ("http-put", "http-put"),
    ("", ""),
    (#"a"b"#, #"a\"b"#),
    (#"C:\x"#, #"C:\\x"#),
    ("a\nb\tc\u{0}\u{1f}", #"a\u000ab\u0009c\u0000\u001f"#),
    ("\u{7f}é€😀\u{2028}", "\u{7f}é€😀\u{2028}"),
  ])
  func escaping(name: String, written: String) throws {
    #expect(try Self.application(name) == written)
  }

  @Test(arguments: ["a", "\"", "\u{1}", "é", "€", "😀", "a😀", "\\é\u{2}"])
  func neverExceedsTheLimit(piece: String) throws {
    let host = String(repeating: "h", count: 300)
    // All phases of a cut against the limit.
    for prefix in 0..<8 {
      let name = String(repeating: "x", count: prefix) + String(repeating: piece, count: 1300)
      let bytes = try encode(
        Self.longest, application: name, transferred: Self.most, host: host, as: .syslog)
      #expect(bytes.utf8.count <= FireflyEncoder.maximumSize)
      #expect(bytes.utf8.count > FireflyEncoder.maximumSize - 6, "no more is cut than needed")
      #expect(bytes.hasSuffix(#""}}"#))
      let json = try #require(bytes.firstIndex(of: "{").map { String(bytes[$0...]) })
      let application = try #require(JSON(json)["context"]?["application"]?.string)
      #expect(name.unicodeScalars.starts(with: application.unicodeScalars))
    }
  }

  @Test func theLimitIsReached() throws {
    let name = String(repeating: "x", count: 2000)
    #expect(try encode(Self.announcement, application: name, as: .syslog).utf8.count == 1232)
  }

  @Test(arguments: [
    ("se1.example.org", "se1.example.org"),
    ("", "-"),
    ("my host\n", "my_host_"),
    ("büro", "b_ro"),
    (String(repeating: "h", count: 256), String(repeating: "h", count: 255)),
  ])
  func hostInTheHeader(host: String, written: String) throws {
    let fields = try encode(Self.announcement, host: host, as: .syslog).split(separator: " ", maxSplits: 7)
    #expect(fields.count == 8)
    #expect(fields[2] == written)
  }

  @Test func programInTheHeader() throws {
    var encoder = FireflyEncoder(host: "h", program: String(repeating: "p", count: 50))
    try encoder.encode(Self.announcement, application: "", at: now)
    let bytes = encoder.withBytes(as: .syslog) { text($0) }
    #expect(bytes.split(separator: " ")[3] == String(repeating: "p", count: 48))
  }
}
