public import Flow

/// Why no firefly can tell of a flow: the schema (scitags.org, firefly v1.0.0) has no words for it.
public enum Inexpressible: Error, Hashable, Sendable {
  /// `protocol` is tcp or udp.
  case transport(TransportProtocol)
  /// Ports begin at 1.
  case portZero
  /// One `afi` holds for both addresses.
  case mixedFamilies
}

extension Inexpressible: CustomStringConvertible {
  public var description: String {
    switch self {
    case .transport(let transport): "a firefly can tell of tcp and udp, not of \(transport.name)"
    case .portZero: "a firefly's ports begin at 1; this flow has port 0"
    case .mixedFamilies: "a firefly's addresses are both IPv4 or both IPv6; this flow has one of each"
    }
  }
}
