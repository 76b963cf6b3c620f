/// The text of an address in a fixed buffer, so that codecs write it without allocating.
public struct AddressText: Sendable {
  /// Only the first `count` bytes mean anything. The longest text is eight groups of four hexadecimal digits
  /// with seven colons: 39 bytes.
  public private(set) var bytes = InlineArray<40, UInt8>(repeating: 0)
  public private(set) var count = 0

  fileprivate mutating func append(_ byte: UInt8) {
    bytes[count] = byte
    count += 1
  }

  fileprivate mutating func append(decimal number: UInt8) {
    if number >= 100 { append(UInt8(ascii: "0") + number / 100) }
    if number >= 10 { append(UInt8(ascii: "0") + number / 10 % 10) }
    append(UInt8(ascii: "0") + number % 10)
  }

  /// Hexadecimal without leading zeroes, in lower case (RFC 5952 §4.1, §4.3).
  fileprivate mutating func append(group: UInt16) {
    if group >= 0x1000 { append(digit: UInt8(group >> 12)) }
    if group >= 0x100 { append(digit: UInt8(group >> 8 & 0xf)) }
    if group >= 0x10 { append(digit: UInt8(group >> 4 & 0xf)) }
    append(digit: UInt8(group & 0xf))
  }

  private mutating func append(digit: UInt8) {
    append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
  }
}

extension AddressText: CustomStringConvertible {
  public var description: String {
    String(unsafeUninitializedCapacity: count) { buffer in
      for index in 0..<count { buffer[index] = bytes[index] }
      return count
    }
  }
}

extension Address {
  /// RFC 5952 text for IPv6, dotted decimal for IPv4.
  public var text: AddressText {
    var text = AddressText()
    if let ipv4 {
      text.append(decimal: UInt8(ipv4 >> 24))
      text.append(UInt8(ascii: "."))
      text.append(decimal: UInt8(ipv4 >> 16 & 0xff))
      text.append(UInt8(ascii: "."))
      text.append(decimal: UInt8(ipv4 >> 8 & 0xff))
      text.append(UInt8(ascii: "."))
      text.append(decimal: UInt8(ipv4 & 0xff))
      return text
    }
    let zeroes = longestRunOfZeroes
    var index = 0
    while index < 8 {
      if index == zeroes.lowerBound, !zeroes.isEmpty {
        text.append(UInt8(ascii: ":"))
        text.append(UInt8(ascii: ":"))
        index = zeroes.upperBound
        continue
      }
      if index > 0, index != zeroes.upperBound || zeroes.isEmpty { text.append(UInt8(ascii: ":")) }
      text.append(group: group(index))
      index += 1
    }
    return text
  }

  /// One of the eight 16-bit groups, the first being the most significant.
  private func group(_ index: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - 16 * (index & 3)))
  }

  /// The groups that `::` stands for: the first longest run of two zero groups or more (RFC 5952 §4.2).
  private var longestRunOfZeroes: Range<Int> {
    var longest = 0..<0
    var index = 0
    while index < 8 {
      guard group(index) == 0 else {
        index += 1
        continue
      }
      var end = index + 1
      while end < 8, group(end) == 0 { end += 1 }
      if end - index > max(longest.count, 1) { longest = index..<end }
      index = end
    }
    return longest
  }
}
