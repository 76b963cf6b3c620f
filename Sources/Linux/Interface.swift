internal import CLinux
internal import Glibc

/// A network interface of this namespace.
public struct Interface: Hashable, Sendable {
  public let index: UInt32
  public let name: String
  /// `ARPHRD_…` of <linux/if_arp.h>.
  public let hardwareType: UInt16
  /// What made it, `bond`, `vlan`, `veth` and so on; empty for hardware.
  public let kind: String
  /// The index of the bond, bridge or team that it is a port of; 0 for none.
  public let master: UInt32
  /// The index of the interface that it is stacked on; 0 for none. A veth's is its peer, which is no stack.
  public let lower: UInt32
  /// The number that this namespace has for the one that `lower` is in; nil for this one itself.
  public let lowerNamespace: Int32?
  /// The most bytes of a packet from the IP header on; 0 where that is not known.
  public let mtu: UInt32

  public init(
    index: UInt32, name: String, hardwareType: UInt16, kind: String = "", master: UInt32 = 0,
    lower: UInt32 = 0, lowerNamespace: Int32? = nil, mtu: UInt32 = 0
  ) {
    self.index = index
    self.name = name
    self.hardwareType = hardwareType
    self.kind = kind
    self.master = master
    self.lower = lower
    self.lowerNamespace = lowerNamespace
    self.mtu = mtu
  }

  /// Packets that leave through it leave through `lower` next.
  public var isStacked: Bool { lower != 0 && ["vlan", "macvlan", "ipvlan"].contains(kind) }

  /// Packets that leave through it leave through one of its ports next.
  public var isBond: Bool { kind == "bond" || kind == "team" }

  public var isLoopback: Bool { Int32(hardwareType) == ARPHRD_LOOPBACK }

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
    let kind = attributes[Int(IFLA_LINKINFO)].flatMap { NetlinkAttributes($0, after: 0)[Int(IFLA_INFO_KIND)] }
    func number(_ type: Int) -> UInt32 {
      attributes[type].flatMap { $0.count == 4 ? $0.loadUnaligned(as: UInt32.self) : nil } ?? 0
    }
    self.init(
      index: UInt32(bitPattern: message.ifi_index),
      name: String(decoding: name.prefix { $0 != 0 }, as: UTF8.self),
      hardwareType: message.ifi_type,
      kind: kind.map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } ?? "",
      master: number(Int(IFLA_MASTER)), lower: number(Int(IFLA_LINK)),
      lowerNamespace: attributes[Int(IFLA_LINK_NETNSID)].flatMap {
        $0.count == 4 ? $0.loadUnaligned(as: Int32.self) : nil
      }, mtu: number(Int(IFLA_MTU)))
  }
}
