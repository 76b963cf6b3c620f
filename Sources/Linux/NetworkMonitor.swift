internal import CLinux
internal import Glibc

/// Tells when interfaces, addresses or routes of this namespace change. One thread uses it.
public final class NetworkMonitor: Sendable {
  private let socket: NetlinkSocket

  /// - Parameter watchesRoutes: whether routes matter; a router has very many, which change all the time.
  public init(watchesRoutes: Bool = false) throws(SystemError) {
    socket = try NetlinkSocket(
      family: Int32(NETLINK_ROUTE),
      groups: UInt32(
        RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
          | (watchesRoutes ? RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE : 0)))
  }

  /// Readable when something has changed.
  public var descriptor: Int32 { socket.descriptor }

  /// What has changed since the last call.
  public struct Changes: Sendable {
    public var links = false
    public var addresses = false
    public var routes = false
    /// Indexes of interfaces that went away; another may have got the same since.
    public var gone: Set<UInt32> = []
  }

  public func changes() throws(SystemError) -> Changes {
    var changes = Changes()
    let complete = try socket.notifications { type, payload in
      switch Int32(type) {
      case Int32(RTM_NEWLINK): changes.links = true
      case Int32(RTM_DELLINK):
        changes.links = true
        // A bridge tells in the same words that a port has left it, which is not gone.
        if let interface = Interface(payload), payload.first == UInt8(AF_UNSPEC) {
          changes.gone.insert(interface.index)
        }
      case Int32(RTM_NEWADDR), Int32(RTM_DELADDR): changes.addresses = true
      case Int32(RTM_NEWROUTE), Int32(RTM_DELROUTE): changes.routes = true
      default: break
      }
    }
    return complete ? changes : Changes(links: true, addresses: true, routes: true, gone: changes.gone)
  }
}
