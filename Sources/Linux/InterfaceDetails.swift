internal import CLinux
internal import Glibc

/// What an operator wants to know of an interface before choosing it. Found out by asking: nothing changes.
public struct InterfaceDetails: Hashable, Sendable {
  public let interface: Interface
  /// The largest IP packet, bytes.
  public let mtu: UInt32
  /// Somebody has switched it on.
  public let isUp: Bool
  /// There is a cable, or what stands for it.
  public let hasCarrier: Bool
  /// The driver's name; empty where it does not say.
  public let driver: String
  /// Receive queues in use; nil where the driver does not say.
  public let queues: Int?
  /// Nil where the kernel or the driver does not say.
  public let xdp: XDPFeatures?

  /// Every interface of the calling thread's namespace, in the order of their indexes.
  public static func all() throws(SystemError) -> [InterfaceDetails] {
    let socket = try NetlinkSocket(family: Int32(NETLINK_ROUTE))
    let features = try? XDPFeatures.all()
    let ethtool = try Ethtool()
    // IFF_LOWER_UP of <linux/if.h>, which glibc's <net/if.h> lacks.
    let lowerUp: UInt32 = 1 << 16
    var found: [UInt32: InterfaceDetails] = [:]
    try socket.dump(type: Int32(RTM_GETLINK), ifinfomsg()) { type, payload in
      guard Int32(type) == Int32(RTM_NEWLINK), let interface = Interface(payload) else { return }
      let message = payload.loadUnaligned(as: ifinfomsg.self)
      let mtu = NetlinkAttributes(payload, after: MemoryLayout<ifinfomsg>.size)[Int(IFLA_MTU)]
      found[interface.index] = InterfaceDetails(
        interface: interface,
        mtu: mtu.flatMap { $0.count == 4 ? $0.loadUnaligned(as: UInt32.self) : nil } ?? 0,
        isUp: message.ifi_flags & UInt32(IFF_UP) != 0, hasCarrier: message.ifi_flags & lowerUp != 0,
        driver: ethtool.driver(interface.name) ?? "", queues: ethtool.receiveQueues(interface.name),
        xdp: features?[interface.index])
    }
    return found.values.sorted { $0.interface.index < $1.interface.index }
  }
}
