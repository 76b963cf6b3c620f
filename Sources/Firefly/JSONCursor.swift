/// Walks through JSON (RFC 8259) that is known to be UTF-8, once and from the front. Every loop moves on by a byte at
/// least, and nothing is remembered but the place.
struct JSONCursor {
  /// A string between its quotes.
  struct Text {
    let range: Range<Int>
    let hasEscapes: Bool
  }

  enum Kind { case object, array, text, number, null, bool }

  private(set) var offset: Int

  init(at offset: Int) { self.offset = offset }

  mutating func skipSpace(_ json: Span<UInt8>) {
    while offset < json.count {
      switch json[offset] {
      case 0x20, 0x09, 0x0a, 0x0d: offset += 1
      default: return
      }
    }
  }

  /// What kind of value begins here, by its first byte.
  func kind(_ json: Span<UInt8>) throws(FireflyError) -> Kind {
    guard offset < json.count else { throw error(.value) }
    switch json[offset] {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .text
    case UInt8(ascii: "n"): return .null
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
    default: throw error(.value)
    }
  }

  /// Steps over the brace that opens an object.
  mutating func enter() { offset += 1 }

  /// The next key of an object, with the cursor at its value then; nil behind the object's end.
  mutating func key(_ json: Span<UInt8>, isFirst: Bool) throws(FireflyError) -> Text? {
    guard try goOn(json, isFirst: isFirst, end: UInt8(ascii: "}")) else { return nil }
    guard offset < json.count, json[offset] == UInt8(ascii: "\"") else { throw error(.key) }
    let key = try text(json)
    skipSpace(json)
    guard offset < json.count, json[offset] == UInt8(ascii: ":") else { throw error(.colon) }
    offset += 1
    skipSpace(json)
    return key
  }

  /// Steps to the next part of an object or an array; false behind its end.
  private mutating func goOn(_ json: Span<UInt8>, isFirst: Bool, end: UInt8) throws(FireflyError) -> Bool {
    skipSpace(json)
    guard offset < json.count else {
      throw error(isFirst ? (end == UInt8(ascii: "}") ? .key : .value) : .commaOrEnd)
    }
    if json[offset] == end {
      offset += 1
      return false
    }
    if isFirst { return true }
    guard json[offset] == UInt8(ascii: ",") else { throw error(.commaOrEnd) }
    offset += 1
    skipSpace(json)
    return true
  }

  /// A string; the cursor is at its opening quote.
  mutating func text(_ json: Span<UInt8>) throws(FireflyError) -> Text {
    offset += 1
    let first = offset
    var hasEscapes = false
    while offset < json.count {
      let byte = json[offset]
      if byte == UInt8(ascii: "\"") {
        offset += 1
        return Text(range: first..<offset - 1, hasEscapes: hasEscapes)
      }
      guard byte >= 0x20 else { throw error(.controlCharacter) }
      if byte == UInt8(ascii: "\\") {
        hasEscapes = true
        _ = try JSONEscape.read(json, &offset)
      } else {
        offset += 1
      }
    }
    throw error(.endOfString)
  }

  /// A number; the cursor is at its first byte.
  mutating func number(_ json: Span<UInt8>) throws(FireflyError) -> JSONNumber {
    var number = JSONNumber()
    if json[offset] == UInt8(ascii: "-") {
      number.negate()
      offset += 1
    }
    let first = offset
    while let digit = digit(json) { number.append(digit, isFraction: false) }
    // RFC 8259 §6: no number begins with a superfluous zero.
    guard offset > first, offset == first + 1 || json[first] != UInt8(ascii: "0") else {
      throw error(.number)
    }
    if offset < json.count, json[offset] == UInt8(ascii: ".") {
      offset += 1
      let first = offset
      while let digit = digit(json) { number.append(digit, isFraction: true) }
      guard offset > first else { throw error(.number) }
    }
    if offset < json.count, json[offset] | 0x20 == UInt8(ascii: "e") {
      offset += 1
      var isNegative = false
      if offset < json.count, json[offset] == UInt8(ascii: "+") || json[offset] == UInt8(ascii: "-") {
        isNegative = json[offset] == UInt8(ascii: "-")
        offset += 1
      }
      let first = offset
      var power = 0
      while let digit = digit(json) { power = JSONNumber.power(power, digit) }
      guard offset > first else { throw error(.number) }
      number.scale(by: power, isNegative: isNegative)
    }
    return number
  }

  private mutating func digit(_ json: Span<UInt8>) -> UInt8? {
    guard offset < json.count else { return nil }
    let digit = json[offset] &- UInt8(ascii: "0")
    guard digit < 10 else { return nil }
    offset += 1
    return digit
  }

  /// Steps over a value, whatever it is.
  ///
  /// - Parameter depth: how many objects and arrays this value stands in.
  mutating func skip(_ json: Span<UInt8>, depth: Int) throws(FireflyError) {
    switch try kind(json) {
    case .text: _ = try text(json)
    case .number: _ = try number(json)
    case .null: try skip("null", json)
    case .bool: try skip(json[offset] == UInt8(ascii: "t") ? "true" : "false", json)
    case .object:
      guard depth < FireflyDecoder.deepestNesting else { throw FireflyError(.tooDeep, at: offset) }
      enter()
      var isFirst = true
      while try key(json, isFirst: isFirst) != nil {
        try skip(json, depth: depth + 1)
        isFirst = false
      }
    case .array:
      guard depth < FireflyDecoder.deepestNesting else { throw FireflyError(.tooDeep, at: offset) }
      enter()
      var isFirst = true
      while try goOn(json, isFirst: isFirst, end: UInt8(ascii: "]")) {
        try skip(json, depth: depth + 1)
        isFirst = false
      }
    }
  }

  private mutating func skip(_ word: StaticString, _ json: Span<UInt8>) throws(FireflyError) {
    guard json.count - offset >= word.utf8CodeUnitCount else { throw error(.value) }
    for index in 0..<word.utf8CodeUnitCount where json[offset + index] != word.utf8Start[index] {
      throw error(.value)
    }
    offset += word.utf8CodeUnitCount
  }

  private func error(_ syntax: FireflyError.Syntax) -> FireflyError {
    FireflyError(.syntax(syntax), at: offset)
  }
}
