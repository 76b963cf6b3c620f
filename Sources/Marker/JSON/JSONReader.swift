/// Reads JSON (RFC 8259) in one pass, without building a tree: the caller says what it expects where.
///
/// The bytes outlive the reader.
struct JSONReader {
  /// The deepest nesting.
  private static let depthLimit = 16

  private let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0
  private var depth = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  enum Kind { case object, array, string, number, bool, null }

  /// What comes next.
  mutating func kind() throws(JSONProblem) -> Kind {
    skipSpace()
    guard offset < bytes.count else { throw problem("a value", at: offset) }
    switch bytes[offset] {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
    case UInt8(ascii: "n"): return .null
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
    default: throw problem("a value", at: offset)
    }
  }

  /// Hands out the keys of an object; `body` reads the value of each.
  mutating func object(_ body: (inout JSONReader, String) throws(JSONProblem) -> Void) throws(JSONProblem) {
    try open(UInt8(ascii: "{"), "an object")
    if take(UInt8(ascii: "}")) { return close() }
    repeat {
      let key = try string()
      guard take(UInt8(ascii: ":")) else { throw problem("\":\"", at: offset) }
      try body(&self, key)
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "}")) else { throw problem("\",\" or \"}\"", at: offset) }
    close()
  }

  /// Hands out the items of an array; `body` reads each.
  mutating func array(_ body: (inout JSONReader) throws(JSONProblem) -> Void) throws(JSONProblem) {
    try open(UInt8(ascii: "["), "an array")
    if take(UInt8(ascii: "]")) { return close() }
    repeat { try body(&self) } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "]")) else { throw problem("\",\" or \"]\"", at: offset) }
    close()
  }

  mutating func string() throws(JSONProblem) -> String {
    let (range, isEscaped) = try stringRange()
    guard isEscaped else { return try text(range) }
    return try JSONEscapes.resolved(UnsafeRawBufferPointer(rebasing: bytes[range]), at: range.lowerBound)
  }

  /// The bytes of a string without escapes, for what has none.
  mutating func plainString() throws(JSONProblem) -> UnsafeRawBufferPointer {
    let (range, isEscaped) = try stringRange()
    guard !isEscaped else { throw problem("a string without escapes", at: range.lowerBound) }
    return UnsafeRawBufferPointer(rebasing: bytes[range])
  }

  /// A whole number, written as one.
  mutating func integer() throws(JSONProblem) -> Int {
    let start = try number()
    guard let number = Int(String(decoding: bytes[start..<offset], as: UTF8.self)) else {
      throw problem("a whole number", at: start)
    }
    return number
  }

  mutating func bool() throws(JSONProblem) -> Bool {
    if takeWord("true") { return true }
    if takeWord("false") { return false }
    throw problem("true or false", at: offset)
  }

  /// Passes over a value of any kind.
  mutating func skip() throws(JSONProblem) {
    switch try kind() {
    case .object: try object { reader, _ throws(JSONProblem) in try reader.skip() }
    case .array: try array { reader throws(JSONProblem) in try reader.skip() }
    case .string: _ = try string()
    case .number: _ = try number()
    case .bool: _ = try bool()
    case .null: guard takeWord("null") else { throw problem("a value", at: offset) }
    }
  }

  /// That nothing but white space is left.
  mutating func end() throws(JSONProblem) {
    skipSpace()
    guard offset == bytes.count else { throw problem("the end", at: offset) }
  }

  func problem(_ expected: String, at place: Int) -> JSONProblem {
    JSONProblem(offset: place, reason: "expected \(expected) at byte \(place + 1)")
  }

  private mutating func open(_ byte: UInt8, _ what: String) throws(JSONProblem) {
    guard take(byte) else { throw problem(what, at: offset) }
    depth += 1
    guard depth <= Self.depthLimit else {
      throw JSONProblem(offset: offset, reason: "nested more than \(Self.depthLimit) deep")
    }
  }

  private mutating func close() { depth -= 1 }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    guard offset < bytes.count, bytes[offset] == byte else { return false }
    offset += 1
    return true
  }

  private mutating func takeWord(_ word: StaticString) -> Bool {
    skipSpace()
    let count = word.utf8CodeUnitCount
    guard offset + count <= bytes.count else { return false }
    for index in 0..<count where bytes[offset + index] != word.utf8Start[index] { return false }
    offset += count
    return true
  }

  private mutating func skipSpace() {
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x09, 0x0a, 0x0d: offset += 1
      default: return
      }
    }
  }

  private mutating func stringRange() throws(JSONProblem) -> (Range<Int>, isEscaped: Bool) {
    guard take(UInt8(ascii: "\"")) else { throw problem("a string", at: offset) }
    let start = offset
    var isEscaped = false
    while offset < bytes.count {
      switch bytes[offset] {
      case UInt8(ascii: "\""):
        offset += 1
        return (start..<offset - 1, isEscaped)
      case UInt8(ascii: "\\"):
        isEscaped = true
        offset += 2
      case 0..<0x20: throw problem("no control character in a string", at: offset)
      default: offset += 1
      }
    }
    throw problem("the closing quote of a string", at: bytes.count)
  }

  private func text(_ range: Range<Int>) throws(JSONProblem) -> String {
    guard let text = String(validating: bytes[range], as: UTF8.self) else {
      throw problem("UTF-8", at: range.lowerBound)
    }
    return text
  }

  /// Passes over a number; the result is where it began. RFC 8259 §6.
  private mutating func number() throws(JSONProblem) -> Int {
    skipSpace()
    let start = offset
    func digits(_ place: inout Int) -> Int {
      let first = place
      while place < bytes.count, bytes[place] &- UInt8(ascii: "0") < 10 { place += 1 }
      return place - first
    }
    var place = offset
    if place < bytes.count, bytes[place] == UInt8(ascii: "-") { place += 1 }
    let first = place
    let count = digits(&place)
    guard count > 0, count == 1 || bytes[first] != UInt8(ascii: "0") else {
      throw problem("a number", at: start)
    }
    if place < bytes.count, bytes[place] == UInt8(ascii: ".") {
      place += 1
      guard digits(&place) > 0 else { throw problem("a digit", at: place) }
    }
    if place < bytes.count, bytes[place] | 0x20 == UInt8(ascii: "e") {
      place += 1
      if place < bytes.count, bytes[place] == UInt8(ascii: "+") || bytes[place] == UInt8(ascii: "-") {
        place += 1
      }
      guard digits(&place) > 0 else { throw problem("a digit", at: place) }
    }
    offset = place
    return start
  }
}

/// What is wrong with a JSON text.
struct JSONProblem: Error, Equatable {
  /// Where, in bytes from 0.
  let offset: Int
  /// The field, as `source.port`; empty where the text itself is wrong.
  var field = ""
  let reason: String

  /// The same within a field.
  func within(_ name: String) -> JSONProblem {
    var problem = self
    problem.field = field.isEmpty ? name : "\(name).\(field)"
    return problem
  }
}

/// The escapes of JSON strings, RFC 8259 §7.
enum JSONEscapes {
  static func resolved(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(JSONProblem) -> String {
    var units: [UInt8] = []
    units.reserveCapacity(bytes.count)
    var place = 0
    func problem(_ expected: String) -> JSONProblem {
      JSONProblem(offset: offset + place, reason: "expected \(expected) at byte \(offset + place + 1)")
    }
    func hex() throws(JSONProblem) -> UInt32 {
      guard place + 6 <= bytes.count, bytes[place] == UInt8(ascii: "\\"),
        bytes[place + 1] == UInt8(ascii: "u"),
        let unit = UInt32(String(decoding: bytes[place + 2..<place + 6], as: UTF8.self), radix: 16),
        bytes[place + 2] != UInt8(ascii: "+"), bytes[place + 2] != UInt8(ascii: "-")
      else { throw problem("\\u and four hexadecimal digits") }
      place += 6
      return unit
    }
    while place < bytes.count {
      guard bytes[place] == UInt8(ascii: "\\") else {
        units.append(bytes[place])
        place += 1
        continue
      }
      guard place + 1 < bytes.count else { throw problem("an escape") }
      let plain: UInt8
      switch bytes[place + 1] {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain = bytes[place + 1]
      case UInt8(ascii: "b"): plain = 0x08
      case UInt8(ascii: "f"): plain = 0x0c
      case UInt8(ascii: "n"): plain = 0x0a
      case UInt8(ascii: "r"): plain = 0x0d
      case UInt8(ascii: "t"): plain = 0x09
      case UInt8(ascii: "u"):
        var value = try hex()
        // UTF-16 surrogates come in pairs: RFC 8259 §7, RFC 2781 §2.2.
        if (0xd800..<0xdc00).contains(value) {
          let low = try hex()
          guard (0xdc00..<0xe000).contains(low) else { throw problem("the second half of a surrogate pair") }
          value = 0x10000 + (value - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(value) else { throw problem("a character") }
        units.append(contentsOf: Array(String(Character(scalar)).utf8))
        continue
      default: throw problem("an escape that JSON has")
      }
      units.append(plain)
      place += 2
    }
    guard let text = String(validating: units, as: UTF8.self) else {
      throw JSONProblem(offset: offset, reason: "expected UTF-8 at byte \(offset + 1)")
    }
    return text
  }
}
