import CLinux
import Flow
import Glibc

/// Room for a control message that names the source address of a datagram (ip(7), ipv6(7): PKTINFO).
///
/// A firefly leaves from the flow's own address, so that it takes the flow's way and passes the same filters.
struct SourceAddress {
  /// Both as the kernel lays them out: a header of 16 bytes, then `struct in6_pktinfo` of 20 bytes, or `struct
  /// in_pktinfo` of 12; the whole is padded to 8.
  private var words: InlineArray<5, UInt64> = [0, 0, 0, 0, 0]

  private static let headerSize = 16

  /// Writes the control message for an address and lets a datagram's header refer to it.
  static func set(
    _ address: Address, of message: inout msghdr, in room: UnsafeMutablePointer<SourceAddress>
  ) {
    let bytes = UnsafeMutableRawPointer(room)
    room.pointee = SourceAddress()
    let length: Int
    if let ipv4 = address.ipv4 {
      length = headerSize + 12
      bytes.storeBytes(of: Int32(IPPROTO_IP), toByteOffset: 8, as: Int32.self)
      bytes.storeBytes(of: Int32(IP_PKTINFO), toByteOffset: 12, as: Int32.self)
      // Behind the interface's index, which 0 leaves to the routes: ipi_spec_dst, the source.
      bytes.storeBytes(of: ipv4.bigEndian, toByteOffset: headerSize + 4, as: UInt32.self)
    } else {
      length = headerSize + 20
      bytes.storeBytes(of: Int32(IPPROTO_IPV6), toByteOffset: 8, as: Int32.self)
      bytes.storeBytes(of: Int32(IPV6_PKTINFO), toByteOffset: 12, as: Int32.self)
      bytes.storeBytes(of: address.high.bigEndian, toByteOffset: headerSize, as: UInt64.self)
      bytes.storeBytes(of: address.low.bigEndian, toByteOffset: headerSize + 8, as: UInt64.self)
    }
    bytes.storeBytes(of: length, as: Int.self)
    message.msg_control = bytes
    message.msg_controllen = (length + 7) & ~7
  }
}
