/// What mark-all leaves alone, such as management traffic. A flow that a source has tagged is marked all the same.
public struct Exclusions: Hashable, Sendable {
  /// The most networks; the kernel's tables are made for so many.
  public static let networkLimit = 1024
  /// The most ranges of ports.
  public static let portLimit = 256

  /// Where packets go to; at most `networkLimit`.
  public var networks: [Network]
  /// Of either end, in any protocol that has ports; at most `portLimit`.
  public var ports: [PortRange]

  public static let none = Exclusions()

  public init(networks: [Network] = [], ports: [PortRange] = []) {
    self.networks = networks
    self.ports = ports
  }

  public var isEmpty: Bool { networks.isEmpty && ports.isEmpty }

  public func contains(_ key: FlowKey) -> Bool {
    contains(remote: key.remote.address)
      || ports.contains { $0.contains(key.local.port) || $0.contains(key.remote.port) }
  }

  /// Whether all that goes to an address is left alone.
  public func contains(remote address: Address) -> Bool { networks.contains { $0.contains(address) } }
}
