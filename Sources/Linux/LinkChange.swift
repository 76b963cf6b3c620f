internal import CLinux
internal import Glibc

/// Something that is done to a network device of the calling thread's namespace, as `ip` would do it.
public enum LinkChange: Hashable, Sendable {
  case addBridge(name: String)
  case delete(name: String)
  case setUp(name: String)
  case setDown(name: String)
  /// Makes a device a port of a bridge.
  case join(name: String, bridge: String)
  case leave(name: String)
  /// The device gets no link-local address by itself.
  case noLinkLocalAddress(name: String)

  /// What does the same by hand.
  public var command: String {
    switch self {
    case .addBridge(let name): "ip link add \(name) type bridge"
    case .delete(let name): "ip link delete \(name)"
    case .setUp(let name): "ip link set \(name) up"
    case .setDown(let name): "ip link set \(name) down"
    case .join(let name, let bridge): "ip link set \(name) master \(bridge)"
    case .leave(let name): "ip link set \(name) nomaster"
    case .noLinkLocalAddress(let name): "ip link set \(name) addrgenmode none"
    }
  }

  /// - Throws: with the command, what the kernel said.
  public func apply() throws(SystemError) {
    switch self {
    case .addBridge(let name):
      try Rtnetlink.run(command, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL) { request in
        request.put(ifinfomsg())
        request.put(Int(IFLA_IFNAME), name)
        request.nest(Int(IFLA_LINKINFO)) { $0.put(Int(IFLA_INFO_KIND), "bridge") }
      }
    case .delete(let name): try change(name, RTM_DELLINK)
    case .setUp(let name): try change(name, flags: UInt32(IFF_UP))
    case .setDown(let name): try change(name, flags: 0)
    case .join(let name, let bridge): try setMaster(name, try index(bridge))
    case .leave(let name): try setMaster(name, 0)
    case .noLinkLocalAddress(let name):
      try change(name) { request in
        request.nest(Int(IFLA_AF_SPEC)) { families in
          families.nest(Int(AF_INET6)) { family in
            // IN6_ADDR_GEN_MODE_NONE of <linux/if_link.h>.
            family.put(Int(IFLA_INET6_ADDR_GEN_MODE), [1])
          }
        }
      }
    }
  }

  private func index(_ name: String) throws(SystemError) -> UInt32 {
    let index = if_nametoindex(name)
    guard index > 0 else { throw SystemError(command, "no device \(name)", code: ENODEV) }
    return index
  }

  private func setMaster(_ name: String, _ master: UInt32) throws(SystemError) {
    try change(name) { request in
      withUnsafeBytes(of: master) { request.put(Int(IFLA_MASTER), Array($0)) }
    }
  }

  private func change(
    _ name: String, _ type: Int = RTM_NEWLINK, flags: UInt32? = nil,
    _ fill: (inout Rtnetlink) -> Void = { _ in }
  ) throws(SystemError) {
    let index = try index(name)
    try Rtnetlink.run(command, type, 0) { request in
      var link = ifinfomsg()
      link.ifi_index = Int32(index)
      if let flags {
        link.ifi_flags = flags
        link.ifi_change = UInt32(IFF_UP)
      }
      request.put(link)
      fill(&request)
    }
  }
}
