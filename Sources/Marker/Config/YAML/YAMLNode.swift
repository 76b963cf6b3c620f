/// A place in a text, both counted from 1.
struct SourceMark: Hashable, Comparable, Sendable {
  var line: Int
  /// In characters.
  var column: Int

  static func < (left: SourceMark, right: SourceMark) -> Bool {
    (left.line, left.column) < (right.line, right.column)
  }
}

/// A value of a YAML document, with the place where it begins.
struct YAMLNode: Sendable {
  enum Content: Sendable {
    /// - Parameter isQuoted: whether it is text beyond doubt: `"12"` is no number.
    case scalar(String, isQuoted: Bool)
    case sequence([YAMLNode])
    /// In the order of the document, each key once.
    case mapping([Entry])
  }

  struct Entry: Sendable {
    let key: String
    let mark: SourceMark
    let value: YAMLNode
  }

  let content: Content
  let mark: SourceMark

  /// Nothing, as YAML 1.2 §10.3.2 writes it.
  var isNull: Bool {
    guard case .scalar(let text, isQuoted: false) = content else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(text)
  }

  /// What stands there, for a message.
  var excerpt: String {
    switch content {
    case .scalar where isNull: "nothing"
    case .scalar(let text, _): "\"\(text.count > 60 ? text.prefix(60) + "…" : text[...])\""
    case .sequence: "a list"
    case .mapping: "a section"
    }
  }
}
