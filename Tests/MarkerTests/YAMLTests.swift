import Testing

@testable import Marker

private func parse(_ text: String) throws -> YAMLNode? { try YAMLParser.parse(Array(text.utf8)) }

/// A node as one line: `{a: [1, "b"]}`, quoted as in the document.
private func line(_ node: YAMLNode?) -> String {
  switch node?.content {
  case nil: "-"
  case .scalar(let text, let isQuoted): isQuoted ? "\"\(text)\"" : text
  case .sequence(let items): "[\(items.map { line($0) }.joined(separator: ", "))]"
  case .mapping(let entries):
    "{\(entries.map { "\($0.key): \(line($0.value))" }.joined(separator: ", "))}"
  }
}

@Suite struct YAMLTests {
  @Test(arguments: [
    ("", "-"), ("# nothing\n", "-"), ("---\n...\n", "-"), ("~", "-"), ("a: 1", "{a: 1}"),
    ("a: [1, 'b', \"c\"]\nb:\n  - x\n  - y: z\n", "{a: [1, \"b\", \"c\"], b: [x, {y: z}]}"),
    ("a: &x {b: 1}\nc: *x\n", "{a: {b: 1}, c: {b: 1}}"), ("a: é\n", "{a: é}"),
    ("a: |\n  b\n", "{a: \"b\n\"}"),
    ("\u{feff}a: 1", "{a: 1}"), ("a:\r\n  b: 1\r\n", "{a: {b: 1}}"),
  ])
  func reads(document: String, want: String) throws {
    #expect(line(try parse(document)) == want)
  }

  @Test(arguments: [
    ("a: 1\na: 2\n", 2, 1, "\"a\" stands here twice, first in line 1: leave one"),
    ("a:\n\tb: 1\n", 2, 1, "YAML is indented by spaces, never by tabs"),
    ("a: [1, 2\n", 2, 1, "did not find expected"),
    ("a: b: c\n", 1, 5, "mapping values are not allowed"),
    ("a: *x\n", 1, 4, "nothing before this is called &x"),
    ("a: !!str 1\n", 1, 4, "tags are not used here"),
    ("a: 1\n---\nb: 2\n", 2, 1, "a second document begins here"),
    ("[a]: 1\n", 1, 1, "a key is plain text, not a list"), ("a: \u{1}\n", 1, 4, "control characters"),
    ("é: [\u{1}]\n", 1, 5, "control characters"), ("a: \"b\n", 2, 1, "unexpected end of stream"),
    ("a: 'b\nc: d\n", 3, 1, "unexpected end of stream"),
    ("a: 1\n b: 2\n", 2, 3, "mapping values are not allowed"),
  ])
  func saysWhatIsWrongAndWhere(document: String, line: Int, column: Int, message: String) {
    let problem = #expect(throws: YAMLProblem.self) { try parse(document) }
    #expect(problem?.mark == SourceMark(line: line, column: column))
    #expect(problem?.message.contains(message) == true, "\(problem?.message ?? "")")
  }

  @Test func bytesThatAreNotUTF8() {
    let problem = #expect(throws: YAMLProblem.self) {
      try YAMLParser.parse(Array("a: 1\nb: é".utf8) + [0xff, 0x41])
    }
    #expect(problem?.mark == SourceMark(line: 2, column: 5))
    for cut: [UInt8] in [[0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x98], [0xc0, 0x80], [0xed, 0xa0, 0x80]] {
      #expect(throws: YAMLProblem.self) { try YAMLParser.parse(Array("a: ".utf8) + cut) }
    }
  }

  @Test func nothingExhaustsIt() {
    let deep = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
    #expect(throws: YAMLProblem.self) { try parse(deep) }
    var bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for level in 1...9 {
      let items = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
      bomb += "a\(level): &a\(level) [\(items)]\n"
    }
    let problem = #expect(throws: YAMLProblem.self) { try parse(bomb) }
    #expect(problem?.message.contains("more than 20000 values") == true)
  }

  @Test(arguments: [
    "eth0", "", "true", "12", "a: b", "[x]", "- a", "#", "\"", "\\", "a\nb", "\u{7f}\u{1}", "é", "null", "~",
    "/var/run/x",
    "2001:db8::1", "*", "&a", " a ", "0x10", "No",
  ])
  func whatIsWrittenIsReadBack(value: String) throws {
    let node = try parse("[{k: \(YAMLText.scalar(value))}, \(YAMLText.scalar(value))]")
    guard case .sequence(let items) = node?.content, case .scalar(let text, _) = items[1].content else {
      Issue.record("\(YAMLText.scalar(value))")
      return
    }
    #expect(text == value && !items[1].isNull)
  }
}
