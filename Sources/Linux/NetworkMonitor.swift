internal import CLinux
internal import Glibc

/// Tells when interfaces, addresses or routes of this namespace change. One thread uses it.
public final class NetworkMonitor: Sendable {
  private let socket: NetlinkSocket

  /// - Parameters:
  ///   - watchesRoutes: whether routes matter; a router has very many, which change all the time.
  ///   - watchesStations: whether it matters what bridges learn.
  public init(watchesRoutes: Bool = false, watchesStations: Bool = false) throws(SystemError) {
    socket = try NetlinkSocket(
      family: Int32(NETLINK_ROUTE),
      groups: UInt32(
        RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
          | (watchesRoutes ? RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE : 0)
          | (watchesStations ? RTMGRP_NEIGH : 0)))
  }

  /// Readable when something has changed.
  public var descriptor: Int32 { socket.descriptor }

  /// What has changed since the last call.
  public struct Changes: Sendable {
    /// None.
    public init() {}

    public var links = false
    public var addresses = false
    public var routes = false
    /// Indexes of interfaces that went away; another may have got the same since.
    public var gone: Set<UInt32> = []
    /// What bridges have learned and forgotten, the oldest first.
    public var stations: [BridgeStation.Change] = []
    /// False where the kernel had to drop some: then everything but `gone` and `stations` is said to have changed.
    public var isComplete = true
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
      case Int32(RTM_NEWNEIGH), Int32(RTM_DELNEIGH):
        if let station = BridgeStation(payload) {
          changes.stations.append(.init(station: station, isGone: Int32(type) == Int32(RTM_DELNEIGH)))
        }
      default: break
      }
    }
    guard !complete else { return changes }
    (changes.links, changes.addresses, changes.routes, changes.isComplete) = (true, true, true, false)
    return changes
  }
}
