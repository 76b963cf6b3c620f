internal import CLinux
public import Flow
internal import Glibc

/// An address of this host, and the interface that it is on.
public struct LocalAddress: Hashable, Sendable {
  public let address: Address
  public let interface: UInt32
  /// Valid everywhere, as far as the kernel knows (`RT_SCOPE_UNIVERSE`): not link-local, not the loopback's.
  public let isGlobal: Bool

  /// Every address in this namespace.
  public static func all() throws(SystemError) -> [LocalAddress] {
    let socket = try NetlinkSocket(family: Int32(NETLINK_ROUTE))
    var found: Set<LocalAddress> = []
    try socket.dump(type: Int32(RTM_GETADDR), ifaddrmsg()) { type, payload in
      guard Int32(type) == Int32(RTM_NEWADDR), payload.count >= MemoryLayout<ifaddrmsg>.size else { return }
      let message = payload.loadUnaligned(as: ifaddrmsg.self)
      let attributes = NetlinkAttributes(payload, after: MemoryLayout<ifaddrmsg>.size)
      // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 elsewhere has no IFA_LOCAL.
      if let bytes = attributes[Int(IFA_LOCAL)] ?? attributes[Int(IFA_ADDRESS)], let address = Address(bytes)
      {
        found.insert(
          LocalAddress(
            address: address, interface: message.ifa_index,
            isGlobal: Int(message.ifa_scope) == Int(RT_SCOPE_UNIVERSE.rawValue)))
      }
    }
    return Array(found)
  }
}

extension Address {
  /// From four or sixteen bytes in network order.
  init?(_ bytes: UnsafeRawBufferPointer) {
    switch bytes.count {
    case 4: self.init(ipv4: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
    case 16:
      self.init(
        high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
        low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    default: return nil
    }
  }
}
