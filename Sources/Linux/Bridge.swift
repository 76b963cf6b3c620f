internal import CLinux
internal import Glibc

/// What matters of a bridge's own settings.
public enum Bridge {
  /// Whether a bridge of the calling thread's namespace has tables of its own for each VLAN, and drops and changes tags by
  /// them (`ip link set BRIDGE type bridge vlan_filtering 1`).
  public static func filtersTags(_ interface: Interface) throws(SystemError) -> Bool {
    let answer = try Rtnetlink.ask("ip link show \(interface.name)", RTM_GETLINK) { request in
      var link = ifinfomsg()
      link.ifi_index = Int32(interface.index)
      request.put(link)
    }
    return answer.withUnsafeBytes { bytes in
      let info = NetlinkAttributes(bytes, after: MemoryLayout<ifinfomsg>.size)[Int(IFLA_LINKINFO)]
      let data = info.flatMap { NetlinkAttributes($0, after: 0)[Int(IFLA_INFO_DATA)] }
      let value = data.flatMap { NetlinkAttributes($0, after: 0)[Int(IFLA_BR_VLAN_FILTERING)] }
      return value?.first == 1
    }
  }
}
