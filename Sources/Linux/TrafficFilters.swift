internal import CLinux
internal import Glibc

/// The filters on an interface's clsact qdisc (tc(8)).
public enum TrafficFilters {
  /// TC_H_CLSACT with the minor numbers of its two sides (<linux/pkt_sched.h>).
  private static let ingress: UInt32 = 0xffff_fff2
  private static let egress: UInt32 = 0xffff_fff3

  /// The indexes of the interfaces that have the qdisc.
  public static func interfacesWithQdisc() throws(SystemError) -> Set<UInt32> {
    let socket = try NetlinkSocket(family: Int32(NETLINK_ROUTE))
    var found: Set<UInt32> = []
    try socket.dump(type: Int32(RTM_GETQDISC), tcmsg()) { type, payload in
      guard Int32(type) == Int32(RTM_NEWQDISC), payload.count >= MemoryLayout<tcmsg>.size else { return }
      let message = payload.loadUnaligned(as: tcmsg.self)
      // TC_H_CLSACT, which is TC_H_INGRESS, is the parent of that qdisc alone (<linux/pkt_sched.h>).
      if message.tcm_parent == 0xffff_fff1 { found.insert(UInt32(message.tcm_ifindex)) }
    }
    return found
  }

  /// Whether anybody has a filter on either side.
  public static func exist(on interface: Interface) throws(SystemError) -> Bool {
    let socket = try NetlinkSocket(family: Int32(NETLINK_ROUTE))
    var found = false
    for parent in [ingress, egress] {
      var request = tcmsg()
      request.tcm_ifindex = Int32(interface.index)
      request.tcm_parent = parent
      try socket.dump(type: Int32(RTM_GETTFILTER), request) { type, _ in
        if Int32(type) == Int32(RTM_NEWTFILTER) { found = true }
      }
    }
    return found
  }
}
