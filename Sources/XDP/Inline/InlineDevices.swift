internal import Glibc
internal import Linux

/// The offloads that AF_XDP cannot do with: they are turned off before packets are taken over, and put back after. What
/// they were is in a file, so that the next start, or `marker inline down`, can put them back for a daemon that was killed.
final class InlineDevices {
  private let pair: InlinePair
  /// Nil where the devices go with who changes them.
  private let record: FeatureRecord?

  init(_ pair: InlinePair, remembers: Bool) throws(InlineError) {
    self.pair = pair
    do throws(SystemError) { record = remembers ? try FeatureRecord(for: pair.inside) : nil } catch {
      throw .system(error)
    }
    restore()
  }

  /// What the inside's own device must not do: hand out tags beside the packet, or several packets as one.
  private static func inside(isGeneric: Bool) -> [String] {
    ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-lro", "rx-gro-hw"] + (isGeneric ? ["rx-gro"] : [])
  }

  /// What the other end of a veth must not leave to it. Native programs end super-packets by themselves. A checksum that
  /// is left to the device may be anywhere in the packet, as in a tunnel, and AF_XDP does not say where.
  private static func peer(isGeneric: Bool) -> [String] {
    ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert", "tx-checksum-ip-generic", "tx-checksum-sctp"]
      + (isGeneric
        ? [
          "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation",
          "tx-tcp-mangleid-segmentation",
          "tx-tcp-accecn-segmentation", "tx-udp-segmentation", "tx-sctp-segmentation", "tx-gso-list",
          "tx-generic-segmentation",
        ] : [])
  }

  func prepare(isGeneric: Bool) throws(InlineError) {
    if pair.inside.kind == "veth" {
      do throws(SystemError) {
        try VethPeer.of(pair.inside) { name throws(SystemError) in
          try turnOff(Self.peer(isGeneric: isGeneric), of: name, .peer)
        }
      } catch {
        throw .peer(pair.inside, "\(error)")
      }
    } else {
      do throws(SystemError) {
        try turnOff(Self.inside(isGeneric: isGeneric), of: pair.inside.name, .inside)
      } catch {
        throw .system(error)
      }
    }
  }

  private func turnOff(_ features: [String], of name: String, _ end: FeatureRecord.End) throws(SystemError) {
    let device = try DeviceFeatures(of: name)
    let enabled = try device.enabled()
    let wanted = features.filter { enabled.contains($0) }
    guard !wanted.isEmpty else { return }
    // First what was, then the change: whoever comes after a crash puts back too much rather than too little.
    try record?.add(wanted, of: end)
    let fixed = try device.set(Dictionary(uniqueKeysWithValues: wanted.map { ($0, false) }))
    guard fixed.isEmpty else { throw SystemError("ethtool -K \(name) \(fixed[0]) off", code: EOPNOTSUPP) }
  }

  /// Puts back what is in the record; a device that is gone needs nothing.
  func restore() { record?.restore(pair.inside) }
}

/// The other end of a veth pair, wherever it is.
enum VethPeer {
  /// Calls the body in the peer's namespace with its name there.
  static func of(
    _ interface: Interface, _ body: (String) throws(SystemError) -> Void
  ) throws(SystemError) {
    func here() throws(SystemError) {
      guard let peer = try Interface.all().first(where: { $0.index == interface.lower }) else {
        throw SystemError("find the other end of", interface.name, code: ENODEV)
      }
      try body(peer.name)
    }
    guard let id = interface.lowerNamespace else { return try here() }
    let namespace = try NamespaceSearch.find(id)
    try inNamespace(namespace.raw) { () throws(SystemError) in try here() }
  }
}
