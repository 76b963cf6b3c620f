/// A STUN server: a name or address, and its UDP port.
public struct STUNServer: Hashable, Sendable {
  /// RFC 8489 §18.6.
  public static let defaultPort: UInt16 = 3478

  let place: Collector

  /// Reads `host`, `host:port`, `[IPv6 address]` or `[IPv6 address]:port`.
  public init(_ text: String) throws(CollectorError) {
    place = try Collector(text, defaultPort: Self.defaultPort)
  }
}

extension STUNServer: CustomStringConvertible {
  public var description: String { place.description }
}
