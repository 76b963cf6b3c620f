import CYAML

/// Reads a text of one YAML document by libyaml.
///
/// Tags, several documents and keys that are no plain text are refused, since no configuration needs them. Depth and
/// size are bounded, so that no text can exhaust the daemon that reads it.
final class YAMLParser {
  /// The deepest nesting: a configuration needs five.
  private static let depthLimit = 16
  /// The most nodes, counting what an alias stands for each time.
  private static let nodeLimit = 20_000

  private let text: [UInt8]
  /// libyaml keeps its address.
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let event: UnsafeMutablePointer<yaml_event_t>
  private var anchors: [String: (node: YAMLNode, size: Int)] = [:]
  private var nodes = 0

  /// - Returns: nil for a text without a document, or with nothing but comments.
  static func parse(_ text: [UInt8]) throws(YAMLProblem) -> YAMLNode? {
    if let place = firstInvalidByte(text) {
      throw YAMLProblem(mark(of: place, in: text), "this byte is not UTF-8: save the file as UTF-8")
    }
    return try YAMLParser(text).document()
  }

  private init(_ text: [UInt8]) {
    self.text = text
    parser = .allocate(capacity: 1)
    event = .allocate(capacity: 1)
    parser.initialize(to: yaml_parser_t())
    event.initialize(to: yaml_event_t())
    // It fails for want of memory only, which ends a Swift program anyway.
    precondition(yaml_parser_initialize(parser) == 1, "no memory for a YAML parser")
  }

  deinit {
    yaml_event_delete(event)
    yaml_parser_delete(parser)
    event.deallocate()
    parser.deallocate()
  }

  private func document() throws(YAMLProblem) -> YAMLNode? {
    // The text outlives the calls that read it.
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.count)
    defer { copy.deallocate() }
    _ = copy.initialize(from: text)
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    yaml_parser_set_input_string(parser, copy.baseAddress, text.count)

    try next()
    try next()
    if event.pointee.type == YAML_STREAM_END_EVENT { return nil }
    try next()
    let root = try node(depth: 0)
    try next()
    try next()
    guard event.pointee.type == YAML_STREAM_END_EVENT else {
      throw YAMLProblem(
        mark, "a second document begins here: a configuration is one, without \"---\" between")
    }
    return root.isNull ? nil : root
  }

  private func next() throws(YAMLProblem) {
    yaml_event_delete(event)
    guard yaml_parser_parse(parser, event) == 1 else { throw problem }
  }

  /// Where the event at hand begins.
  private var mark: SourceMark { SourceMark(event.pointee.start_mark) }

  /// The node that begins with the event at hand.
  private func node(depth: Int) throws(YAMLProblem) -> YAMLNode {
    guard depth < Self.depthLimit else {
      throw YAMLProblem(mark, "nested more than \(Self.depthLimit) deep: no setting is")
    }
    try count(1)
    let (type, mark) = (event.pointee.type, mark)
    let before = nodes
    let anchor: String?
    let node: YAMLNode
    switch type {
    case YAML_SCALAR_EVENT:
      let scalar = event.pointee.data.scalar
      try check(tag: scalar.tag)
      anchor = Self.text(scalar.anchor)
      let value = String(
        decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
      node = YAMLNode(
        content: .scalar(value, isQuoted: scalar.style != YAML_PLAIN_SCALAR_STYLE), mark: mark)
    case YAML_SEQUENCE_START_EVENT:
      try check(tag: event.pointee.data.sequence_start.tag)
      anchor = Self.text(event.pointee.data.sequence_start.anchor)
      node = YAMLNode(content: .sequence(try sequence(depth)), mark: mark)
    case YAML_MAPPING_START_EVENT:
      try check(tag: event.pointee.data.mapping_start.tag)
      anchor = Self.text(event.pointee.data.mapping_start.anchor)
      node = YAMLNode(content: .mapping(try mapping(depth)), mark: mark)
    case YAML_ALIAS_EVENT:
      let name = Self.text(event.pointee.data.alias.anchor) ?? ""
      guard let known = anchors[name] else {
        throw YAMLProblem(mark, "nothing before this is called &\(name)")
      }
      try count(known.size)
      return YAMLNode(content: known.node.content, mark: mark)
    default:
      throw YAMLProblem(mark, "expected a value")
    }
    if let anchor { anchors[anchor] = (node, nodes - before + 1) }
    return node
  }

  private func sequence(_ depth: Int) throws(YAMLProblem) -> [YAMLNode] {
    var items: [YAMLNode] = []
    try next()
    while event.pointee.type != YAML_SEQUENCE_END_EVENT {
      items.append(try node(depth: depth + 1))
      try next()
    }
    return items
  }

  private func mapping(_ depth: Int) throws(YAMLProblem) -> [YAMLNode.Entry] {
    var entries: [YAMLNode.Entry] = []
    var lines: [String: Int] = [:]
    try next()
    while event.pointee.type != YAML_MAPPING_END_EVENT {
      let key = try node(depth: depth + 1)
      guard case .scalar(let name, _) = key.content else {
        throw YAMLProblem(key.mark, "a key is plain text, not \(key.excerpt)")
      }
      if let line = lines.updateValue(key.mark.line, forKey: name) {
        throw YAMLProblem(key.mark, "\"\(name)\" stands here twice, first in line \(line): leave one")
      }
      try next()
      entries.append(YAMLNode.Entry(key: name, mark: key.mark, value: try node(depth: depth + 1)))
      try next()
    }
    return entries
  }

  private func count(_ more: Int) throws(YAMLProblem) {
    nodes += more
    guard nodes <= Self.nodeLimit else {
      throw YAMLProblem(mark, "more than \(Self.nodeLimit) values: no configuration is that large")
    }
  }

  private func check(tag: UnsafeMutablePointer<yaml_char_t>?) throws(YAMLProblem) {
    guard let tag = Self.text(tag) else { return }
    throw YAMLProblem(mark, "tags are not used here: leave out \"\(tag)\"")
  }

  /// What libyaml could not read, and where.
  private var problem: YAMLProblem {
    let state = parser.pointee
    let what = state.problem.map { String(cString: $0) } ?? "not YAML"
    switch state.error {
    case YAML_READER_ERROR:
      return YAMLProblem(Self.mark(of: state.problem_offset, in: text), "\(what)")
    case YAML_SCANNER_ERROR, YAML_PARSER_ERROR, YAML_COMPOSER_ERROR:
      let context = state.context.map { " (\(String(cString: $0)))" } ?? ""
      let advice =
        what.contains("cannot start any token") ? "; YAML is indented by spaces, never by tabs" : ""
      return YAMLProblem(SourceMark(state.problem_mark), "\(what)\(context)\(advice)")
    default:
      return YAMLProblem(SourceMark(state.mark), what)
    }
  }

  private static func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
    pointer.map { String(cString: $0) }
  }

  private static func firstInvalidByte(_ text: [UInt8]) -> Int? {
    var place = 0
    while place < text.count {
      guard text[place] >= 0x80 else {
        place += 1
        continue
      }
      // RFC 3629 §3: the lead byte tells the length of a character.
      let length = text[place] >= 0xf0 ? 4 : text[place] >= 0xe0 ? 3 : 2
      guard place + length <= text.count,
        String(validating: text[place..<place + length], as: UTF8.self) != nil
      else { return place }
      place += length
    }
    return nil
  }

  private static func mark(of offset: Int, in text: [UInt8]) -> SourceMark {
    let before = text.prefix(offset)
    let start = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    return SourceMark(
      line: before.count { $0 == UInt8(ascii: "\n") } + 1,
      column: String(decoding: text[start..<before.count], as: UTF8.self).unicodeScalars.count + 1)
  }
}

extension SourceMark {
  /// libyaml counts from 0.
  init(_ mark: yaml_mark_t) { self.init(line: mark.line + 1, column: mark.column + 1) }
}
