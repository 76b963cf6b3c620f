internal import CLinux
internal import Glibc

/// Tells when interfaces or addresses of this namespace change. One thread uses it.
public final class NetworkMonitor: Sendable {
  private let socket: NetlinkSocket

  public init() throws(SystemError) {
    socket = try NetlinkSocket(
      family: Int32(NETLINK_ROUTE),
      groups: UInt32(RTMGRP_LINK) | UInt32(RTMGRP_IPV4_IFADDR) | UInt32(RTMGRP_IPV6_IFADDR))
  }

  /// Readable when something has changed.
  public var descriptor: Int32 { socket.descriptor }

  /// What has changed since the last call.
  public struct Changes: Sendable {
    public var links = false
    public var addresses = false
  }

  public func changes() throws(SystemError) -> Changes {
    var changes = Changes()
    let complete = try socket.notifications { type, _ in
      switch Int32(type) {
      case Int32(RTM_NEWLINK), Int32(RTM_DELLINK): changes.links = true
      case Int32(RTM_NEWADDR), Int32(RTM_DELADDR): changes.addresses = true
      default: break
      }
    }
    return complete ? changes : Changes(links: true, addresses: true)
  }
}
