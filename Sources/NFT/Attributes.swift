/// The attributes of a netlink message: type, length, value, each padded to four bytes (struct nlattr,
/// linux/netlink.h). What is cut off or shorter than it says ends the sequence.
struct Attributes: Sequence, IteratorProtocol {
  private var rest: UnsafeRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

  mutating func next() -> (type: UInt16, value: UnsafeRawBufferPointer)? {
    guard rest.count >= 4 else { return nil }
    let length = Int(rest.loadUnaligned(as: UInt16.self))
    guard length >= 4, length <= rest.count else { return nil }
    // NLA_F_NESTED and NLA_F_NET_BYTEORDER are the upper two bits.
    let type = rest.loadUnaligned(fromByteOffset: 2, as: UInt16.self) & 0x3fff
    let value = UnsafeRawBufferPointer(rebasing: rest[4..<length])
    rest = UnsafeRawBufferPointer(rebasing: rest[Swift.min((length + 3) & ~3, rest.count)...])
    return (type, value)
  }

  /// The first attribute of a type.
  func value<Type: BinaryInteger>(_ type: Type) -> UnsafeRawBufferPointer? {
    first { $0.type == UInt16(type) }?.value
  }
}

extension UnsafeRawBufferPointer {
  /// An integer in network order; 0 where the value is too short.
  func bigEndian<T: FixedWidthInteger>(_: T.Type) -> T {
    count >= MemoryLayout<T>.size ? T(bigEndian: loadUnaligned(as: T.self)) : 0
  }

  /// A text, without the zero that ends it.
  var text: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }
}
