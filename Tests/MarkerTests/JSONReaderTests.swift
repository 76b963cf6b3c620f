import Testing

@testable import Marker

@Suite struct JSONReaderTests {
  /// Passes over a text; the problem's byte, or nil where it is JSON.
  private func fault(_ bytes: [UInt8]) -> Int? {
    bytes.withUnsafeBytes { bytes in
      var reader = JSONReader(bytes)
      do throws(JSONProblem) {
        try reader.skip()
        try reader.end()
        return nil
      } catch {
        return error.offset
      }
    }
  }

  private func string(_ text: String) throws -> String {
    try Array(text.utf8).withUnsafeBytes { bytes in
      var reader = JSONReader(bytes)
      return try reader.string()
    }
  }

  @Test(arguments: [
    "{}", "[]", " [ 1 , -2.5e+3, 0, 0.1, true, false, null, \"a\" ] ",
    "{\"a\":{\"b\":[{}]},\"c\":\"\\u00e9\\\"\\\\\"}",
    "\"é\"", "1E5", "-0",
  ])
  func isJSON(text: String) { #expect(fault(Array(text.utf8)) == nil) }

  @Test(arguments: [
    ("", 0), ("{", 1), ("[1,]", 3), ("{\"a\" 1}", 5), ("{\"a\":1,}", 7), ("01", 0), ("1.", 2), ("-", 0),
    ("1e", 2),
    ("tru", 0), ("nul", 0), ("\"a", 2), ("\"\u{1}\"", 1), ("\"\\x\"", 1), ("\"\\u12\"", 1),
    ("\"\\ud800\"", 7),
    ("1 2", 2), ("{1:2}", 1), ("'a'", 0), ("[1 2]", 3), ("\"\\", 2),
  ])
  func isNot(text: String, at: Int) { #expect(fault(Array(text.utf8)) == at) }

  @Test func bytesThatAreNotUTF8() {
    #expect(fault([0x22, 0xff, 0x22]) == 1)
    #expect(fault([0x22, 0x5c, 0x6e, 0xc3, 0x22]) != nil)
  }

  @Test(arguments: [
    ("\"a\\n\\t\\/\\b\\f\\r\"", "a\n\t/\u{8}\u{c}\r"), ("\"\\u00e9\\ud83d\\ude00\"", "é😀"),
    ("\"plain\"", "plain"),
  ])
  func escapes(text: String, want: String) throws { #expect(try string(text) == want) }

  @Test func nestingIsBounded() {
    #expect(fault(Array(String(repeating: "[", count: 100_000).utf8)) == 17)
    #expect(fault(Array((String(repeating: "[", count: 16) + String(repeating: "]", count: 16)).utf8)) == nil)
  }

  /// Whatever is cut off or changed, it ends with an answer.
  @Test func nothingHarmsIt() {
    let text = Array(
      "{\"protocol\":\"tcp\",\"source\":{\"address\":\"2001:db8::1\",\"port\":1},\"x\":[1.5e3,null,\"\\u00e9\\\\\"]}"
        .utf8)
    for count in 0..<text.count { #expect(fault(Array(text[..<count])) != nil) }
    for place in text.indices {
      for byte: UInt8 in [0, 0x22, 0x5c, 0x7b, 0x5d, 0x80, 0xff] {
        var changed = text
        changed[place] = byte
        _ = fault(changed)
      }
    }
  }
}
