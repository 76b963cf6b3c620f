internal import CLinux
internal import Flow
internal import Glibc

/// Tells of TCP sockets of this namespace as they are destroyed, with their last counts. One thread uses it.
public final class SocketEnds: Sendable {
  private let socket: NetlinkSocket

  /// What a burst of closing sockets may fill before the kernel drops notifications: about a kilobyte each.
  private static let bufferSize: Int32 = 32 << 20

  /// - Throws: `EPERM` without CAP_NET_ADMIN; where the kernel has no sock_diag.
  public init() throws(SystemError) {
    // A bit for each group, counted from 1 (linux/sock_diag.h).
    socket = try NetlinkSocket(
      family: Int32(NETLINK_SOCK_DIAG),
      groups: 1 << (SKNLGRP_INET_TCP_DESTROY.rawValue - 1) | 1 << (SKNLGRP_INET6_TCP_DESTROY.rawValue - 1))
    try socket.setReceiveBuffer(Self.bufferSize)
  }

  /// Readable while notifications wait.
  public var descriptor: Int32 { socket.descriptor }

  /// Hands out the sockets that were destroyed since the last call.
  ///
  /// - Returns: false where the kernel had to drop some: a dump of all sockets tells what else is gone.
  public func take(_ body: (borrowing SocketDescription) -> Void) throws(SystemError) -> Bool {
    try socket.notifications { type, payload in
      guard Int32(type) == Int32(SOCK_DIAG_BY_FAMILY) else { return }
      if let found = SocketDescription(payload, .tcp) { body(found) }
    }
  }
}
