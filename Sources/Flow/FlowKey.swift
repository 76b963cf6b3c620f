/// The transport protocols whose flows can be tagged: those with ports where UDP has them. The raw value is
/// IANA's protocol number.
public enum TransportProtocol: UInt8, Sendable, CaseIterable {
  case tcp = 6
  case udp = 17
  case sctp = 132

  /// The name as pipe lines and fireflies write it.
  public var name: String {
    switch self {
    case .tcp: "tcp"
    case .udp: "udp"
    case .sctp: "sctp"
    }
  }
}

/// One end of a flow.
public struct Endpoint: Hashable, Sendable {
  public let address: Address
  /// Host order.
  public let port: UInt16

  public init(_ address: Address, _ port: UInt16) {
    self.address = address
    self.port = port
  }
}

extension Endpoint: CustomStringConvertible {
  public var description: String {
    address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)"
  }
}

/// A flow in the direction in which its packets leave this host: local → remote.
public struct FlowKey: Hashable, Sendable {
  public let local: Endpoint
  public let remote: Endpoint
  public let transport: TransportProtocol

  public init(local: Endpoint, remote: Endpoint, transport: TransportProtocol) {
    self.local = local
    self.remote = remote
    self.transport = transport
  }

  public var isIPv4: Bool { local.address.isIPv4 }
}

extension FlowKey: CustomStringConvertible {
  public var description: String { "\(transport.name) \(local) > \(remote)" }
}

/// Which end of the flow, as it was announced, is this host's. Fireflies keep the announced order from start
/// to end, because collectors recognise a flow by it.
public enum Orientation: UInt8, Sendable {
  /// The announced source is local.
  case outbound = 0
  /// The announced destination is local: the flow's packets leave in the reverse of the announced order.
  case inbound = 1
}

/// A flow in the order in which a source announced it.
public struct AnnouncedFlow: Hashable, Sendable {
  public let source: Endpoint
  public let destination: Endpoint
  public let transport: TransportProtocol

  public init(source: Endpoint, destination: Endpoint, transport: TransportProtocol) {
    self.source = source
    self.destination = destination
    self.transport = transport
  }

  /// The announced order of a known flow.
  public init(_ key: FlowKey, _ orientation: Orientation) {
    switch orientation {
    case .outbound: self.init(source: key.local, destination: key.remote, transport: key.transport)
    case .inbound: self.init(source: key.remote, destination: key.local, transport: key.transport)
    }
  }

  /// The key, once it is known which addresses are this host's.
  ///
  /// Where both ends are local, or neither is (a router, a container's flow), the announced source counts as
  /// local.
  ///
  /// - Parameter networks: addresses that count as this host's, because it marks for the hosts that have them.
  public func normalised(
    localAddresses: Set<Address>, networks: [Network] = []
  ) -> (key: FlowKey, orientation: Orientation) {
    let inbound =
      !source.address.isAmong(localAddresses, networks)
      && destination.address.isAmong(localAddresses, networks)
    let (local, remote) = inbound ? (destination, source) : (source, destination)
    return (
      FlowKey(local: local, remote: remote, transport: transport), inbound ? .inbound : .outbound
    )
  }
}

extension Address {
  func isAmong(_ addresses: Set<Address>, _ networks: [Network]) -> Bool {
    addresses.contains(self) || networks.contains { $0.contains(self) }
  }
}

extension AnnouncedFlow: CustomStringConvertible {
  public var description: String { "\(transport.name) \(source) > \(destination)" }
}
