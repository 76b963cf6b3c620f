internal import CLinux
internal import Glibc
internal import Linux

/// A tap device that throws away whatever is sent out by it, after packet sockets have seen it. It goes with its
/// descriptor, so it dies with the process.
struct Sink: ~Copyable {
  private let descriptor: Descriptor
  let name: String
  let index: UInt32

  // <linux/if_tun.h>: a frame from Ethernet on, no header of tun's own, vnet headers.
  private static let flags: Int16 = 0x0002 | 0x1000 | 0x4000
  // TUN_F_…: partial checksums, super-packets of TCP over IPv4 and IPv6, with ECN. What is not here the kernel does before
  // a packet leaves: vnet headers have no words for tunnels and SCTP.
  private static let offloads: UInt32 = 0x01 | 0x02 | 0x04 | 0x08
  /// The same for UDP, Linux 6.2, which is when vnet headers got their word for it.
  private static let udpOffloads: UInt32 = 0x20 | 0x40

  /// - Parameter hasHeaders: whether who sees the packets reads vnet headers; if not, the kernel does all before they come.
  init(hasHeaders: Bool) throws(SystemError) {
    let made = try Descriptor("open", "/dev/net/tun") { open("/dev/net/tun", O_RDWR | O_CLOEXEC) }
    var name = Array("marker%d".utf8CString) + [CChar](repeating: 0, count: 16)
    try system("TUNSETIFF", "tap device") { clinux_tap(made.raw, &name, Self.flags) }
    if hasHeaders, clinux_tap_offloads(made.raw, Self.offloads | Self.udpOffloads) != 0 {
      try system("TUNSETOFFLOAD", "tap device") { clinux_tap_offloads(made.raw, Self.offloads) }
    }
    // BPF_RET | BPF_K of <linux/filter.h>: nothing is kept for reading.
    let nothing = [sock_filter(code: 0x06, jt: 0, jf: 0, k: 0)]
    try system("TUNATTACHFILTER", "tap device") { clinux_tap_filter(made.raw, nothing, 1) }
    let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // VLAN tags are to be in the packet.
    let features = try DeviceFeatures(of: text)
    let fixed = try features.set(["tx-vlan-hw-insert": false, "tx-vlan-stag-hw-insert": false])
    guard fixed.isEmpty else { throw SystemError("ethtool -K \(text) txvlan off", code: EOPNOTSUPP) }
    // A kernel without IPv6 does not know what is not wanted.
    do throws(SystemError) {
      try LinkChange.noLinkLocalAddress(name: text).apply()
    } catch {
      guard error.code == EAFNOSUPPORT || error.code == EINVAL else { throw error }
    }
    try LinkChange.setUp(name: text).apply()
    descriptor = made
    self.name = text
    index = if_nametoindex(text)
  }
}
