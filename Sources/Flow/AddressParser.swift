extension Address {
  /// Reads an address from its text (RFC 4291 §2.2, or dotted IPv4); a `%zone` behind it is dropped.
  ///
  /// - Returns: nil where the whole text is not one address. IPv4 numbers with leading zeroes are refused:
  ///   some programs read them as octal.
  public init?(text: Span<UInt8>) {
    var end = 0
    var colons = 0
    while end < text.count, text[end] != UInt8(ascii: "%") {
      if text[end] == UInt8(ascii: ":") { colons += 1 }
      end += 1
    }
    if colons == 0 {
      guard end == text.count, let ipv4 = Self.ipv4(text, 0..<end) else { return nil }
      self.init(ipv4: ipv4)
    } else {
      guard end == text.count || end + 1 < text.count else { return nil }
      guard let address = Self.ipv6(text, 0..<end) else { return nil }
      self = address
    }
  }

  private static func ipv4(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt32? {
    var address: UInt32 = 0
    var index = range.lowerBound
    for part in 0..<4 {
      if part > 0 {
        guard index < range.upperBound, text[index] == UInt8(ascii: ".") else { return nil }
        index += 1
      }
      let first = index
      var number: UInt32 = 0
      while index < range.upperBound, index - first < 3, let digit = decimal(text[index]) {
        number = number * 10 + digit
        index += 1
      }
      let digits = index - first
      guard digits > 0, number <= 255, digits == 1 || text[first] != UInt8(ascii: "0") else {
        return nil
      }
      address = address << 8 | number
    }
    return index == range.upperBound ? address : nil
  }

  private static func ipv6(_ text: Span<UInt8>, _ range: Range<Int>) -> Address? {
    // The groups before `::` fill 128 bits from the left, those behind it are shifted in from the right.
    var head = Groups()
    var tail = Groups()
    var compressed = false
    var index = range.lowerBound
    let end = range.upperBound
    if end - index >= 2, text[index] == UInt8(ascii: ":") {
      guard text[index + 1] == UInt8(ascii: ":") else { return nil }
      compressed = true
      index += 2
    }
    while index < end {
      let first = index
      var group: UInt32 = 0
      while index < end, index - first < 5, let digit = hexadecimal(text[index]) {
        group = group << 4 | digit
        index += 1
      }
      if index < end, text[index] == UInt8(ascii: ".") {
        guard let ipv4 = ipv4(text, first..<end) else { return nil }
        let pair = [UInt16(ipv4 >> 16), UInt16(ipv4 & 0xffff)] as InlineArray<2, UInt16>
        for part in 0..<2 {
          if compressed { tail.append(pair[part]) } else { head.append(pair[part]) }
        }
        index = end
        break
      }
      guard (1...4).contains(index - first) else { return nil }
      if compressed { tail.append(UInt16(group)) } else { head.append(UInt16(group)) }
      guard index < end else { break }
      guard text[index] == UInt8(ascii: ":"), index + 1 < end else { return nil }
      index += 1
      if text[index] == UInt8(ascii: ":") {
        guard !compressed else { return nil }
        compressed = true
        index += 1
      }
    }
    let count = head.count + tail.count
    guard compressed ? count < 8 : count == 8 else { return nil }
    let left = head.leftAligned
    return Address(high: left.high | tail.high, low: left.low | tail.low)
  }

  /// Up to eight groups, the last in the lowest bits.
  private struct Groups {
    var high: UInt64 = 0
    var low: UInt64 = 0
    var count = 0

    mutating func append(_ group: UInt16) {
      high = high << 16 | low >> 48
      low = low << 16 | UInt64(group)
      count += 1
    }

    var leftAligned: (high: UInt64, low: UInt64) {
      let shift = UInt64(8 - min(count, 8)) * 16
      if shift >= 128 { return (0, 0) }
      if shift >= 64 { return (low << (shift - 64), 0) }
      if shift == 0 { return (high, low) }
      return (high << shift | low >> (64 - shift), low << shift)
    }
  }

  private static func decimal(_ byte: UInt8) -> UInt32? {
    let digit = byte &- UInt8(ascii: "0")
    return digit < 10 ? UInt32(digit) : nil
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt32? {
    if let digit = decimal(byte) { return digit }
    let letter = (byte | 0x20) &- UInt8(ascii: "a")
    return letter < 6 ? UInt32(letter) + 10 : nil
  }
}
