/// How a setting's value is read from a configuration, and written into one.
struct ValueType<Value: Sendable>: Sendable {
  /// What may stand there, as it follows "expected": "true or false".
  let form: String
  let read: @Sendable (YAMLNode) throws(YAMLProblem) -> Value
  /// On one line, so that `read` gives the same value again.
  let write: @Sendable (Value) -> String

  init(
    _ form: String, read: @escaping @Sendable (YAMLNode) throws(YAMLProblem) -> Value,
    write: @escaping @Sendable (Value) -> String
  ) {
    self.form = form
    self.read = read
    self.write = write
  }
}

extension YAMLNode {
  func expected(_ form: String) -> YAMLProblem { YAMLProblem(mark, "expected \(form), not \(excerpt)") }

  /// The text of a scalar, quoted or not.
  var text: String? {
    guard case .scalar(let text, _) = content, !isNull else { return nil }
    return text
  }

  /// The text of a scalar that is not quoted.
  var plain: String? {
    guard case .scalar(let text, isQuoted: false) = content, !isNull else { return nil }
    return text
  }
}

extension ValueType where Value == Bool {
  static let bool = ValueType("true or false") { node throws(YAMLProblem) in
    switch node.plain {
    case "true", "True", "TRUE": return true
    case "false", "False", "FALSE": return false
    default: throw node.expected("true or false")
    }
  } write: {
    "\($0)"
  }
}

extension ValueType where Value: FixedWidthInteger {
  static func integer(_ range: ClosedRange<Value>, _ what: String = "a number") -> ValueType {
    let form = "\(what) from \(range.lowerBound) to \(range.upperBound)"
    return ValueType(form) { node throws(YAMLProblem) in
      guard let number = node.plain.flatMap({ Value($0.replacing("_", with: "")) }), range.contains(number)
      else { throw node.expected(form) }
      return number
    } write: {
      "\($0)"
    }
  }
}

extension ValueType where Value == UInt16 {
  static let port = integer(1...65535, "a port")
}

extension ValueType where Value == String {
  /// Any text but an empty one.
  static func text(_ form: String) -> ValueType {
    ValueType(form) { node throws(YAMLProblem) in
      guard let text = node.text, !text.isEmpty else { throw node.expected(form) }
      return text
    } write: {
      YAMLText.scalar($0)
    }
  }

  /// The path of a file, from the root on: the daemon's working directory is nobody's.
  static let path = ValueType("a path from / on") { node throws(YAMLProblem) in
    guard let text = node.text, text.hasPrefix("/"), text.utf8.count < 4096, !text.contains("\0") else {
      throw node.expected("a path from / on")
    }
    return text
  } write: {
    YAMLText.scalar($0)
  }
}

extension ValueType where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
  /// One of an enumeration's words.
  ///
  /// - Parameter known: of these, in this order; nil for all.
  static func word(_ known: [Value]? = nil, ignoringCase: Bool = false) -> ValueType {
    let values = known ?? Array(Value.allCases)
    let words = values.map(\.rawValue)
    let form =
      words.count == 1 ? words[0] : words.dropLast().joined(separator: ", ") + " or \(words.last ?? "")"
    return ValueType(form) { node throws(YAMLProblem) in
      let found = node.text.flatMap { text in
        values.first {
          ignoringCase ? $0.rawValue.lowercased() == text.lowercased() : $0.rawValue == text
        }
      }
      if let found { return found }
      let near = node.text.flatMap { Nearest.of($0, in: words) }
      throw YAMLProblem(
        node.mark, node.expected(form).message + (near.map { "; did you mean \"\($0)\"?" } ?? ""))
    } write: {
      YAMLText.scalar($0.rawValue)
    }
  }
}

extension ValueType {
  /// A list, or one item alone.
  ///
  /// - Parameter limit: the most items.
  static func list<Item>(of item: ValueType<Item>, atMost limit: Int = .max) -> ValueType
  where Value == [Item] {
    ValueType("a list, each \(item.form)") { node throws(YAMLProblem) in
      guard case .sequence(let nodes) = node.content else {
        guard !node.isNull else { throw node.expected("a list, each \(item.form)") }
        return [try item.read(node)]
      }
      guard nodes.count <= limit else {
        throw YAMLProblem(node.mark, "expected at most \(limit) items, not \(nodes.count)")
      }
      var items: [Item] = []
      for node in nodes { items.append(try item.read(node)) }
      return items
    } write: {
      YAMLText.list($0.map(item.write))
    }
  }

  /// What may be left to the daemon, by the word given.
  static func optional<Wrapped>(_ type: ValueType<Wrapped>, none: String) -> ValueType
  where Value == Wrapped? {
    ValueType("\(type.form), or \(none)") { node throws(YAMLProblem) in
      node.plain == none ? nil : try type.read(node)
    } write: {
      $0.map(type.write) ?? none
    }
  }
}
