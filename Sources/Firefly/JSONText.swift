extension ByteWriter {
  /// Appends the inside of a JSON string (RFC 8259 §7), the quotes left to the caller.
  ///
  /// - Parameter limit: The count that the buffer must not exceed. What doesn't fit is left out, always by
  ///   whole characters of UTF-8 and whole escapes.
  mutating func append(jsonText text: String, upTo limit: Int) {
    let bytes = text.utf8.span
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        guard count + 2 <= limit else { return }
        append(UInt8(ascii: "\\"))
        append(byte)
        index += 1
      case 0..<0x20:
        guard count + 6 <= limit else { return }
        append("\\u00")
        append(hexadecimal: byte >> 4)
        append(hexadecimal: byte & 0xf)
        index += 1
      default:
        let size = min(Self.sizeOfCharacter(byte), bytes.count - index)
        guard count + size <= limit else { return }
        for offset in 0..<size { append(bytes[index + offset]) }
        index += size
      }
    }
  }

  private mutating func append(hexadecimal digit: UInt8) {
    append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
  }

  /// The bytes of the character that begins with this byte (RFC 3629 §3).
  static func sizeOfCharacter(_ lead: UInt8) -> Int {
    switch lead {
    case ..<0x80: 1
    case ..<0xe0: 2
    case ..<0xf0: 3
    default: 4
    }
  }
}
