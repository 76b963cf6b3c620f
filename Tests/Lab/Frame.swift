public import Flow

/// A captured Ethernet frame, decoded without any code of the product.
public struct Frame: Sendable {
  public let bytes: [UInt8]
  public let isIPv6: Bool
  /// Host order; 0 on IPv4.
  public let flowLabel: UInt32
  /// IPv6's traffic class or IPv4's TOS.
  public let trafficClass: UInt8
  public let source: Address
  public let destination: Address
  /// The transport behind all extension headers.
  public let transport: UInt8
  /// 0 for later fragments and protocols without ports.
  public let sourcePort: UInt16
  public let destinationPort: UInt16
  /// Set on every fragment.
  public let isFragment: Bool
  /// Where the transport header starts.
  public let transportOffset: Int
  /// Where the IP packet ends; Ethernet may pad behind it.
  public let end: Int
  /// Where the IP header starts.
  public let networkOffset: Int

  public var dscp: UInt8 { trafficClass >> 2 }
  public var ecn: UInt8 { trafficClass & 3 }

  /// Nil for anything but IPv4 and IPv6.
  public init?(_ bytes: [UInt8]) {
    self.bytes = bytes
    var offset = 12
    var etherType = Self.word(bytes, offset)
    while etherType == 0x8100 || etherType == 0x88a8 {
      offset += 4
      etherType = Self.word(bytes, offset)
    }
    offset += 2
    networkOffset = offset
    switch etherType {
    case 0x86dd where bytes.count >= offset + 40:
      isIPv6 = true
      let first = UInt32(Self.word(bytes, offset)) << 16 | UInt32(Self.word(bytes, offset + 2))
      trafficClass = UInt8(first >> 20 & 0xff)
      flowLabel = first & 0xf_ffff
      end = min(bytes.count, offset + 40 + Int(Self.word(bytes, offset + 4)))
      source = Self.address(bytes, offset + 8)
      destination = Self.address(bytes, offset + 24)
      var next = bytes[offset + 6]
      var at = offset + 40
      var fragment = false
      var first8 = true
      walk: while at + 8 <= bytes.count {
        switch next {
        case 0, 43, 60:
          next = bytes[at]
          at += (Int(bytes[at + 1]) + 1) * 8
        case 44:
          fragment = true
          first8 = Self.word(bytes, at + 2) & 0xfff8 == 0
          next = bytes[at]
          at += 8
          if !first8 { break walk }
        default: break walk
        }
      }
      transport = next
      transportOffset = at
      isFragment = fragment
      let hasPorts = first8 && [6, 17, 132].contains(next) && at + 4 <= bytes.count
      sourcePort = hasPorts ? Self.word(bytes, at) : 0
      destinationPort = hasPorts ? Self.word(bytes, at + 2) : 0
    case 0x0800 where bytes.count >= offset + 20:
      isIPv6 = false
      flowLabel = 0
      trafficClass = bytes[offset + 1]
      end = min(bytes.count, offset + Int(Self.word(bytes, offset + 2)))
      func ipv4(_ at: Int) -> Address {
        Address(ipv4: UInt32(Self.word(bytes, at)) << 16 | UInt32(Self.word(bytes, at + 2)))
      }
      source = ipv4(offset + 12)
      destination = ipv4(offset + 16)
      transport = bytes[offset + 9]
      let position = Self.word(bytes, offset + 6)
      isFragment = position & 0x3fff != 0
      transportOffset = offset + Int(bytes[offset] & 15) * 4
      let hasPorts =
        position & 0x1fff == 0 && [6, 17, 132].contains(transport)
        && transportOffset + 4 <= bytes.count
      sourcePort = hasPorts ? Self.word(bytes, transportOffset) : 0
      destinationPort = hasPorts ? Self.word(bytes, transportOffset + 2) : 0
    default: return nil
    }
  }

  /// Whether the checksums of the IPv4 header and of TCP or UDP are right; nil for fragments and other
  /// protocols, whose transport checksum is not in one frame.
  public var checksumsAreRight: Bool? {
    if !isIPv6, Self.sum(bytes[networkOffset..<transportOffset]) != 0xffff { return false }
    guard !isFragment, transport == 6 || transport == 17 else { return nil }
    let length = end - transportOffset
    var sum = Self.sum(bytes[transportOffset..<end])
    sum += UInt32(transport) + UInt32(length)
    let addresses =
      isIPv6 ? networkOffset + 8..<networkOffset + 40 : networkOffset + 12..<networkOffset + 20
    sum += Self.sum(bytes[addresses])
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return sum == 0xffff
  }

  private static func word(_ bytes: [UInt8], _ at: Int) -> UInt16 {
    at + 1 < bytes.count ? UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) : 0
  }

  private static func address(_ bytes: [UInt8], _ at: Int) -> Address {
    func half(_ from: Int) -> UInt64 { bytes[from..<from + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    return Address(high: half(at), low: half(at + 8))
  }

  /// The ones' complement sum of RFC 1071, folded to 16 bits.
  private static func sum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var sum: UInt32 = 0
    var high = true
    for byte in bytes {
      sum += high ? UInt32(byte) << 8 : UInt32(byte)
      high.toggle()
    }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return sum
  }
}
