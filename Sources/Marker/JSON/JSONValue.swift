/// JSON as a tree, for what the daemon has answered; requests are read without one.
indirect enum JSONValue: Sendable {
  case object([(key: String, value: JSONValue)])
  case array([JSONValue])
  case string(String)
  /// As it was written: counters need all their digits.
  case number(String)
  case bool(Bool)
  case null

  init(_ text: String) throws(JSONProblem) {
    let bytes = Array(text.utf8)
    let result = bytes.withUnsafeBytes { bytes -> Result<JSONValue, JSONProblem> in
      var reader = JSONReader(bytes)
      do throws(JSONProblem) {
        let value = try Self.read(&reader, bytes)
        try reader.end()
        return .success(value)
      } catch { return .failure(error) }
    }
    self = try result.get()
  }

  private static func read(
    _ reader: inout JSONReader, _ bytes: UnsafeRawBufferPointer
  ) throws(JSONProblem) -> JSONValue {
    switch try reader.kind() {
    case .object:
      var fields: [(key: String, value: JSONValue)] = []
      try reader.object { reader, key throws(JSONProblem) in fields.append((key, try read(&reader, bytes))) }
      return .object(fields)
    case .array:
      var items: [JSONValue] = []
      try reader.array { reader throws(JSONProblem) in items.append(try read(&reader, bytes)) }
      return .array(items)
    case .string: return .string(try reader.string())
    case .number:
      let start = reader.offset
      try reader.skip()
      return .number(String(decoding: bytes[start..<reader.offset], as: UTF8.self))
    case .bool: return .bool(try reader.bool())
    case .null:
      try reader.skip()
      return .null
    }
  }

  /// A field of an object; null where there is none.
  subscript(_ key: String) -> JSONValue {
    guard case .object(let fields) = self else { return .null }
    return fields.first { $0.key == key }?.value ?? .null
  }

  var fields: [(key: String, value: JSONValue)] {
    if case .object(let fields) = self { fields } else { [] }
  }

  var items: [JSONValue] { if case .array(let items) = self { items } else { [] } }

  /// Empty for what is no string.
  var text: String { if case .string(let text) = self { text } else { "" } }

  var number: Double? { if case .number(let text) = self { Double(text) } else { nil } }

  var isTrue: Bool { if case .bool(true) = self { true } else { false } }
}
