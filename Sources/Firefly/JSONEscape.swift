/// Escapes in JSON strings (RFC 8259 §7).
enum JSONEscape {
  /// Reads the escape whose backslash `offset` is at, and steps behind it.
  static func read(_ json: Span<UInt8>, _ offset: inout Int) throws(FireflyError) -> Unicode.Scalar {
    let start = offset
    guard offset + 1 < json.count else { throw FireflyError(.syntax(.escape), at: start) }
    let letter = json[offset + 1]
    offset += 2
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): break
    default: throw FireflyError(.syntax(.escape), at: start)
    }
    let unit = try codeUnit(json, &offset, start)
    if let scalar = Unicode.Scalar(unit) { return scalar }
    // A pair of surrogates (RFC 8259 §7): ten bits each, the high ones first, from U+10000 on.
    guard unit < 0xdc00, offset + 1 < json.count, json[offset] == UInt8(ascii: "\\"),
      json[offset + 1] == UInt8(ascii: "u")
    else { throw FireflyError(.syntax(.surrogate), at: start) }
    offset += 2
    let low = try codeUnit(json, &offset, start)
    guard (0xdc00...0xdfff).contains(low),
      let scalar = Unicode.Scalar(0x10000 + (UInt32(unit) - 0xd800) << 10 + (UInt32(low) - 0xdc00))
    else { throw FireflyError(.syntax(.surrogate), at: start) }
    return scalar
  }

  private static func codeUnit(
    _ json: Span<UInt8>, _ offset: inout Int, _ start: Int
  ) throws(FireflyError) -> UInt16 {
    guard json.count - offset >= 4 else { throw FireflyError(.syntax(.escape), at: start) }
    var unit: UInt16 = 0
    for index in offset..<offset + 4 {
      guard let digit = hexadecimal(json[index]) else { throw FireflyError(.syntax(.escape), at: start) }
      unit = unit << 4 | digit
    }
    offset += 4
    return unit
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt16? {
    let digit = byte &- UInt8(ascii: "0")
    if digit < 10 { return UInt16(digit) }
    let letter = (byte | 0x20) &- UInt8(ascii: "a")
    return letter < 6 ? UInt16(letter) + 10 : nil
  }
}

extension ByteWriter {
  /// Appends the text of a JSON string that was read before, its escapes resolved, as far as whole characters fit.
  mutating func append(unescaped text: JSONCursor.Text, of json: Span<UInt8>) {
    var offset = text.range.lowerBound
    while offset < text.range.upperBound {
      guard json[offset] == UInt8(ascii: "\\") else {
        guard count < capacity else { return trimToCharacter() }
        append(json[offset])
        offset += 1
        continue
      }
      // The cursor has read it: it is right.
      guard let scalar = try? JSONEscape.read(json, &offset) else { return }
      let encoded = UTF8.encode(scalar)
      guard let encoded, count + encoded.count <= capacity else { return }
      for byte in encoded { append(byte) }
    }
  }

  /// Drops a character at the end that is not whole (RFC 3629 §3: bytes behind the first begin with the bits 10).
  mutating func trimToCharacter() {
    var lead = count - 1
    while lead > 0, start[lead] & 0xc0 == 0x80 { lead -= 1 }
    if lead >= 0, lead + Self.sizeOfCharacter(start[lead]) > count { truncate(to: lead) }
  }
}
