/// Builds packets byte by byte, so that a test says what each field is.
public struct PacketBuilder {
  public static let hardware: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]  // destination, source

  /// An Ethernet header with VLAN tags outside in: (TPID, TCI).
  public static func ethernet(_ etherType: UInt16, tags: [(UInt16, UInt16)] = []) -> [UInt8] {
    hardware + tags.flatMap { word($0.0) + word($0.1) } + word(etherType)
  }

  /// RFC 8200 §3. The payload length counts what follows.
  public static func ipv6(
    trafficClass: UInt8 = 0, label: UInt32 = 0, next: UInt8, source: [UInt8] = address(1),
    destination: [UInt8] = address(2),
    _ payload: [UInt8]
  ) -> [UInt8] {
    let first = 6 << 28 | UInt32(trafficClass) << 20 | label
    return word(UInt16(first >> 16)) + word(UInt16(first & 0xffff)) + word(UInt16(payload.count)) + [
      next, 64,
    ]  // hop limit
      + source + destination + payload
  }

  /// RFC 791, with a right header checksum.
  public static func ipv4(
    tos: UInt8 = 0, protocol transport: UInt8, fragment: UInt16 = 0, identification: UInt16 = 1,
    options: [UInt8] = [],
    _ payload: [UInt8]
  ) -> [UInt8] {
    var header: [UInt8] =
      [0x45 + UInt8(options.count / 4), tos] + word(UInt16(20 + options.count + payload.count))
      + word(identification)
      + word(fragment) + [64, transport, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2] + options
    let sum = checksum(header)
    header[10] = UInt8(sum >> 8)
    header[11] = UInt8(sum & 0xff)
    return header + payload
  }

  /// RFC 9293 §3.1, without options; the checksum is not computed.
  public static func tcp(_ source: UInt16, _ destination: UInt16, payload: [UInt8] = [1, 2, 3]) -> [UInt8] {
    word(source) + word(destination) + [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0] + payload
  }

  /// RFC 768; the checksum is not computed.
  public static func udp(_ source: UInt16, _ destination: UInt16, payload: [UInt8] = [1, 2, 3]) -> [UInt8] {
    word(source) + word(destination) + word(UInt16(8 + payload.count)) + [0, 0] + payload
  }

  /// An extension header of the options kind, RFC 8200 §4.2, padded to `length` bytes.
  public static func options(next: UInt8, length: Int = 8) -> [UInt8] {
    [next, UInt8(length / 8 - 1), 1, UInt8(length - 4)] + [UInt8](repeating: 0, count: length - 4)
  }

  /// RFC 8200 §4.5. The offset is in units of eight bytes.
  public static func fragment(next: UInt8, offset: UInt16, more: Bool, identification: UInt32) -> [UInt8] {
    [next, 0] + word(offset << 3 | (more ? 1 : 0)) + word(UInt16(identification >> 16))
      + word(UInt16(identification & 0xffff))
  }

  /// 2001:db8::n.
  public static func address(_ last: UInt8) -> [UInt8] {
    [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [last]
  }

  public static func word(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }

  /// RFC 1071.
  public static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for index in stride(from: 0, to: bytes.count - 1, by: 2) {
      sum += UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
    }
    if bytes.count % 2 == 1 { sum += UInt32(bytes[bytes.count - 1]) << 8 }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return ~UInt16(sum)
  }
}
