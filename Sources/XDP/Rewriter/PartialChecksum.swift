internal import Glibc

/// The checksums that a sender has left to its device (CHECKSUM_PARTIAL), which over a veth pair is nobody.
enum PartialChecksum {
  /// Fills in the transport's checksum where it was left to the device: then the field holds the sum over the pseudo
  /// header (RFC 9293 §3.1, RFC 8200 §8.1), folded. Where it does so by chance, what is filled in is right as well. SCTP's
  /// field is 0 instead.
  ///
  /// - Returns: whether it was.
  static func complete(_ frame: UnsafeMutableRawPointer, _ length: Int) -> Bool {
    guard let shape = PacketShape(frame, length), !shape.isFragment, let transport = shape.transport else {
      return false
    }
    let header = UnsafeRawPointer(frame + shape.network)
    let end: Int
    if shape.isIPv6 {
      end =
        shape.network + 40 + Int(UInt16(bigEndian: header.loadUnaligned(fromByteOffset: 4, as: UInt16.self)))
    } else {
      end = shape.network + Int(UInt16(bigEndian: header.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
    }
    guard end <= length else { return false }
    switch shape.next {
    case 6: return complete(frame, shape, transport, end, field: 16, headerBytes: 20)
    case 17: return complete(frame, shape, transport, end, field: 6, headerBytes: 8)
    case 132: return completeSCTP(frame + transport, end - transport)
    default: return false
    }
  }

  private static func complete(
    _ frame: UnsafeMutableRawPointer, _ shape: PacketShape, _ transport: Int, _ end: Int, field: Int,
    headerBytes: Int
  ) -> Bool {
    let size = end - transport
    guard size >= headerBytes else { return false }
    // Sums are made in the order in which bytes lie in memory, so only numbers of our own are swapped.
    var pseudo = UInt64(UInt16(truncatingIfNeeded: size).bigEndian) + UInt64(UInt16(shape.next).bigEndian)
    let addresses = UnsafeRawPointer(frame) + shape.network + (shape.isIPv6 ? 8 : 12)
    pseudo += sum(addresses, shape.isIPv6 ? 32 : 8)
    let there = frame.loadUnaligned(fromByteOffset: transport + field, as: UInt16.self)
    guard there == fold(pseudo) else { return false }
    // The field is part of the sum, and holds the pseudo header's.
    var checksum = ~fold(sum(UnsafeRawPointer(frame) + transport, size))
    // 0 means no checksum in UDP, RFC 768.
    if shape.next == 17, checksum == 0 { checksum = 0xffff }
    frame.storeBytes(of: checksum, toByteOffset: transport + field, as: UInt16.self)
    return true
  }

  /// The sum of 16-bit words, not folded (RFC 1071).
  private static func sum(_ start: UnsafeRawPointer, _ count: Int) -> UInt64 {
    var sum: UInt64 = 0
    var at = 0
    while at + 4 <= count {
      // Halves of 32 bits: a million of them do not overflow.
      sum &+= UInt64(start.loadUnaligned(fromByteOffset: at, as: UInt32.self))
      at += 4
    }
    if at + 2 <= count {
      sum &+= UInt64(start.loadUnaligned(fromByteOffset: at, as: UInt16.self))
      at += 2
    }
    if at < count {
      sum &+= UInt64(UInt16(littleEndian: UInt16(start.load(fromByteOffset: at, as: UInt8.self))))
    }
    return sum
  }

  private static func fold(_ sum: UInt64) -> UInt16 {
    var sum = sum
    while sum >> 16 != 0 { sum = (sum & 0xffff) + sum >> 16 }
    return UInt16(sum)
  }

  /// CRC32c over the packet with its field as 0 (RFC 9260 §6.8), in the order in which it is sent.
  private static func completeSCTP(_ packet: UnsafeMutableRawPointer, _ size: Int) -> Bool {
    guard size >= 12, packet.loadUnaligned(fromByteOffset: 8, as: UInt32.self) == 0 else { return false }
    var crc = UInt32.max
    for at in 0..<size {
      crc ^= UInt32(packet.load(fromByteOffset: at, as: UInt8.self))
      // The polynomial of RFC 9260 appendix A, bits reversed.
      for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0x82f6_3b78 }
    }
    packet.storeBytes(of: (~crc).littleEndian, toByteOffset: 8, as: UInt32.self)
    return true
  }
}
