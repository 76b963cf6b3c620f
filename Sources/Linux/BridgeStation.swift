internal import CLinux
internal import Glibc

/// A device that a bridge knows by its hardware address, and where it is (`bridge fdb`).
public struct BridgeStation: Hashable, Sendable {
  /// The six octets of the address in the order in which they are sent, then two zeros.
  public let address: UInt64
  /// The index of the port behind which it is.
  public let port: UInt32
  /// The index of the bridge.
  public let bridge: UInt32
  /// An address of this host itself: the bridge's own, or a port's.
  public let isLocal: Bool

  /// Something learned or forgotten.
  public struct Change: Sendable {
    public let station: BridgeStation
    public let isGone: Bool
  }

  /// What the bridges of the calling thread's namespace know.
  public static func all() throws(SystemError) -> Set<BridgeStation> {
    let socket = try NetlinkSocket(family: Int32(NETLINK_ROUTE))
    var found: Set<BridgeStation> = []
    var request = ndmsg()
    request.ndm_family = UInt8(AF_BRIDGE)
    try socket.dump(type: Int32(RTM_GETNEIGH), request) { type, payload in
      if Int32(type) == Int32(RTM_NEWNEIGH), let station = BridgeStation(payload) { found.insert(station) }
    }
    return found
  }

  /// From an RTM_NEWNEIGH or RTM_DELNEIGH message; nil for what is no bridge's.
  init?(_ payload: UnsafeRawBufferPointer) {
    guard payload.count >= MemoryLayout<ndmsg>.size else { return nil }
    let message = payload.loadUnaligned(as: ndmsg.self)
    guard message.ndm_family == UInt8(AF_BRIDGE) else { return nil }
    let attributes = NetlinkAttributes(payload, after: MemoryLayout<ndmsg>.size)
    // A device's own list of addresses has no bridge.
    guard let octets = attributes[Int(NDA_LLADDR)], octets.count == 6,
      let master = attributes[Int(NDA_MASTER)], master.count == 4
    else { return nil }
    var address: UInt64 = 0
    withUnsafeMutableBytes(of: &address) { $0.copyBytes(from: octets) }
    self.address = address
    port = UInt32(message.ndm_ifindex)
    bridge = master.loadUnaligned(as: UInt32.self)
    isLocal = message.ndm_state & UInt16(NUD_PERMANENT) != 0
  }
}
