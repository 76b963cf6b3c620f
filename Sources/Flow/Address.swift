/// An IPv6 address, or an IPv4 address in its mapped form `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2): the two are
/// one type so that a flow has one key however a peer writes it.
public struct Address: Hashable, Sendable {
  /// The first and the last 64 bits, in host order.
  public let high: UInt64
  public let low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// An IPv4 address, in host order.
  public init(ipv4: UInt32) {
    high = 0
    low = 0xffff_0000_0000 | UInt64(ipv4)
  }

  /// `::`, and what IPv4's `0.0.0.0` is not: that one is `::ffff:0.0.0.0`.
  public static let unspecified = Address(high: 0, low: 0)

  public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

  /// The IPv4 address in host order, nil for IPv6.
  public var ipv4: UInt32? { isIPv4 ? UInt32(truncatingIfNeeded: low) : nil }

  /// `::` or `0.0.0.0`.
  public var isUnspecified: Bool { isIPv4 ? low & 0xffff_ffff == 0 : high | low == 0 }

  /// ff00::/8 or 224.0.0.0/4.
  public var isMulticast: Bool { isIPv4 ? low >> 28 & 0xf == 0xe : high >> 56 == 0xff }

  /// fe80::/10, which means nothing without an interface.
  public var isLinkLocal: Bool { high >> 54 == 0x3fa }
}

extension Address: LosslessStringConvertible {
  public init?(_ description: String) {
    var text = description
    guard let address = text.withUTF8({ Address(text: $0.span) }) else { return nil }
    self = address
  }

  /// RFC 5952 for IPv6, dotted for IPv4.
  public var description: String { text.description }
}
