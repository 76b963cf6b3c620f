/// What can be written into a packet to mark it.
public enum Stamp: String, Sendable, CaseIterable {
  /// The flow label, which only IPv6 has.
  case label
  /// The DSCP in IPv6's traffic class.
  case ipv6CodePoint
  /// The DSCP in IPv4's TOS.
  case ipv4CodePoint
  /// IPv6 extension headers: hop-by-hop options, destination options, or both.
  case hopByHop, destination, hopByHopDestination

  /// Those that are written over what a packet has.
  public static let rewriting: [Stamp] = [.label, .ipv6CodePoint, .ipv4CodePoint]

  /// The extension headers to insert; nil for what is written over what a packet has.
  public var headers: ExtensionHeaders? {
    switch self {
    case .label, .ipv6CodePoint, .ipv4CodePoint: nil
    case .hopByHop: .hopByHop
    case .destination: .destination
    case .hopByHopDestination: .hopByHopDestination
    }
  }

  public var families: AddressFamilies { self == .ipv4CodePoint ? .ipv4 : .ipv6 }
}
