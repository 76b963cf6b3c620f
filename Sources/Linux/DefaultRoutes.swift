internal import CLinux
internal import Glibc

/// Where packets go that no narrower route takes.
public enum DefaultRoutes {
  /// The indexes of the interfaces that IPv4's and IPv6's default routes of the main table lead through.
  public static func interfaces() throws(SystemError) -> Set<UInt32> {
    let socket = try NetlinkSocket(family: Int32(NETLINK_ROUTE))
    var found: Set<UInt32> = []
    try socket.dump(type: Int32(RTM_GETROUTE), rtmsg()) { type, payload in
      guard Int32(type) == Int32(RTM_NEWROUTE), payload.count >= MemoryLayout<rtmsg>.size else { return }
      let route = payload.loadUnaligned(as: rtmsg.self)
      guard route.rtm_dst_len == 0, Int(route.rtm_table) == Int(RT_TABLE_MAIN.rawValue),
        Int(route.rtm_type) == Int(RTN_UNICAST)
      else { return }
      let attributes = NetlinkAttributes(payload, after: MemoryLayout<rtmsg>.size)
      if let index = attributes[Int(RTA_OIF.rawValue)], index.count == 4 {
        found.insert(index.loadUnaligned(as: UInt32.self))
      }
      guard let hops = attributes[Int(RTA_MULTIPATH.rawValue)] else { return }
      var offset = 0
      while offset + MemoryLayout<rtnexthop>.size <= hops.count {
        let hop = hops.loadUnaligned(fromByteOffset: offset, as: rtnexthop.self)
        guard Int(hop.rtnh_len) >= MemoryLayout<rtnexthop>.size else { return }
        found.insert(UInt32(bitPattern: hop.rtnh_ifindex))
        // RTNH_ALIGNTO is 4.
        offset += (Int(hop.rtnh_len) + 3) & ~3
      }
    }
    return found
  }
}
