internal import CLinux
internal import Glibc

/// A network interface of this namespace.
public struct Interface: Hashable, Sendable {
  public let index: UInt32
  public let name: String
  /// `ARPHRD_…` of <linux/if_arp.h>.
  public let hardwareType: UInt16

  public init(index: UInt32, name: String, hardwareType: UInt16) {
    self.index = index
    self.name = name
    self.hardwareType = hardwareType
  }

  /// What stands before the IP header of a packet that leaves through the interface.
  public enum LinkHeader: Sendable {
    case ethernet
    /// The packet begins with the IP header.
    case none
  }

  /// Nil for link layers whose header nobody here knows.
  public var linkHeader: LinkHeader? {
    switch Int32(hardwareType) {
    case ARPHRD_ETHER, ARPHRD_LOOPBACK: .ethernet
    case ARPHRD_NONE, ARPHRD_PPP, ARPHRD_RAWIP, ARPHRD_TUNNEL, ARPHRD_TUNNEL6, ARPHRD_SIT: LinkHeader.none
    default: nil
    }
  }

  /// Every interface.
  public static func all() throws(SystemError) -> [Interface] {
    let socket = try NetlinkSocket(family: Int32(NETLINK_ROUTE))
    var found: [UInt32: Interface] = [:]
    try socket.dump(type: Int32(RTM_GETLINK), ifinfomsg()) { type, payload in
      if let interface = Interface(payload), Int32(type) == Int32(RTM_NEWLINK) {
        found[interface.index] = interface
      }
    }
    return found.values.sorted { $0.index < $1.index }
  }

  /// From an RTM_NEWLINK or RTM_DELLINK message.
  init?(_ payload: UnsafeRawBufferPointer) {
    guard payload.count >= MemoryLayout<ifinfomsg>.size else { return nil }
    let message = payload.loadUnaligned(as: ifinfomsg.self)
    let attributes = NetlinkAttributes(payload, after: MemoryLayout<ifinfomsg>.size)
    guard let name = attributes[Int(IFLA_IFNAME)] else { return nil }
    self.init(
      index: UInt32(message.ifi_index), name: String(decoding: name.prefix { $0 != 0 }, as: UTF8.self),
      hardwareType: message.ifi_type)
  }
}
