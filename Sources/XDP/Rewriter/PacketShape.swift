public import Flow
internal import Glibc

/// Where the headers of a frame are, read from any shape of packet as bpf/parse.h does, with the same bounds.
public struct PacketShape {
  /// The addresses, and the ends where they are known.
  var key: FlowWords
  /// Where the IP header starts, bytes from the frame's start as all places here.
  public let network: Int
  /// Where the transport header starts; nil where there is none to read.
  public private(set) var transport: Int?
  /// The transport's number.
  public private(set) var next: UInt8 = 0
  public let isIPv6: Bool
  public private(set) var isFragment = false
  /// A fragment but the first.
  public private(set) var isLater = false
  /// Where the first hop-by-hop and the first destination options start; nil where the packet has none.
  public private(set) var hopByHop: Int?
  public private(set) var destinationOptions: Int?
  var identification: UInt32 = 0

  /// 802.1Q inside 802.1ad is the deepest nesting in use.
  private static let maxTags = 2
  /// RFC 8200 §4.1 names six extension headers, of which one may come twice.
  private static let maxExtensions = 7

  @inline(__always)
  static func hasPorts(_ transport: UInt8) -> Bool { transport == 6 || transport == 17 || transport == 132 }

  private static func isExtension(_ next: UInt8) -> Bool {
    switch Int(next) {
    case Int(IPPROTO_HOPOPTS), Int(IPPROTO_ROUTING), Int(IPPROTO_DSTOPTS), Int(IPPROTO_FRAGMENT),
      Int(IPPROTO_AH):
      true
    default: false
    }
  }

  /// An Ethernet frame. Nil for what is none of ours: truncated, another protocol, too many headers.
  init?(_ frame: UnsafeRawPointer, _ length: Int) {
    guard length >= 14 else { return nil }
    self.init(frame, length, etherType: Self.half(frame, 12), behind: 14)
  }

  /// A frame of any link layer.
  ///
  /// - Parameters:
  ///   - etherType: the protocol that the link layer names (IEEE 802 numbers), VLAN tags among them.
  ///   - start: the bytes of the link layer's header.
  /// - Returns: nil for what is none of ours: truncated, another protocol, too many headers.
  public init?(_ frame: UnsafeRawPointer, _ length: Int, etherType: UInt16, behind start: Int) {
    var etherType = etherType
    var at = start
    for _ in 0..<Self.maxTags where etherType == 0x8100 || etherType == 0x88a8 {
      guard at + 4 <= length else { return nil }
      etherType = Self.half(frame, at + 2)
      at += 4
    }
    network = at
    switch etherType {
    case 0x86dd:
      guard at + 40 <= length, frame.load(fromByteOffset: at, as: UInt8.self) >> 4 == 6 else { return nil }
      isIPv6 = true
      key = FlowWords(
        frame.loadUnaligned(fromByteOffset: at + 8, as: UInt64.self),
        frame.loadUnaligned(fromByteOffset: at + 16, as: UInt64.self),
        frame.loadUnaligned(fromByteOffset: at + 24, as: UInt64.self),
        frame.loadUnaligned(fromByteOffset: at + 32, as: UInt64.self), ends: 0)
      next = frame.load(fromByteOffset: at + 6, as: UInt8.self)
      guard let end = readExtensions(frame, length, at + 40), readPorts(frame, length, end) else {
        return nil
      }
    case 0x0800:
      guard at + 20 <= length else { return nil }
      let first = frame.load(fromByteOffset: at, as: UInt8.self)
      guard first >> 4 == 4, first & 15 >= 5 else { return nil }
      isIPv6 = false
      key = FlowWords(
        0, FlowWords.mapped(frame.loadUnaligned(fromByteOffset: at + 12, as: UInt32.self)), 0,
        FlowWords.mapped(frame.loadUnaligned(fromByteOffset: at + 16, as: UInt32.self)), ends: 0)
      next = frame.load(fromByteOffset: at + 9, as: UInt8.self)
      // 13 bits of offset below the flags, of which 0x2000 says "more fragments", RFC 791.
      let position = Self.half(frame, at + 6)
      isLater = position & 0x1fff != 0
      isFragment = position & 0x3fff != 0
      identification = UInt32(Self.half(frame, at + 4))
      guard readPorts(frame, length, at + Int(first & 15) * 4) else { return nil }
    default: return nil
    }
  }

  /// The offset behind the extension headers; nil where they do not end.
  private mutating func readExtensions(_ frame: UnsafeRawPointer, _ length: Int, _ start: Int) -> Int? {
    var at = start
    for _ in 0..<Self.maxExtensions where Self.isExtension(next) && !isLater {
      guard at + 8 <= length else { return nil }
      let size = Int(frame.load(fromByteOffset: at + 1, as: UInt8.self))
      let following = frame.load(fromByteOffset: at, as: UInt8.self)
      if Int(next) == Int(IPPROTO_HOPOPTS), hopByHop == nil { hopByHop = at }
      if Int(next) == Int(IPPROTO_DSTOPTS), destinationOptions == nil { destinationOptions = at }
      switch Int(next) {
      case Int(IPPROTO_FRAGMENT):
        isFragment = true
        identification = frame.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self)
        // The low three bits are flags, RFC 8200 §4.5.
        isLater = Self.half(frame, at + 2) & 0xfff8 != 0
        at += 8
      // In words of four bytes, less two, RFC 4302 §2.2.
      case Int(IPPROTO_AH): at += (size + 2) * 4
      // In words of eight bytes, less one, RFC 8200 §4.3.
      default: at += (size + 1) * 8
      }
      next = following
    }
    return Self.isExtension(next) && !isLater ? nil : at
  }

  private mutating func readPorts(_ frame: UnsafeRawPointer, _ length: Int, _ at: Int) -> Bool {
    var ports: UInt32 = 0
    if Self.hasPorts(next), !isLater {
      guard at + 4 <= length else { return false }
      transport = at
      ports = frame.loadUnaligned(fromByteOffset: at, as: UInt32.self)
    }
    key.ends = FlowWords.ends(ports: ports, transport: next)
    return true
  }

  @inline(__always)
  private static func half(_ frame: UnsafeRawPointer, _ at: Int) -> UInt16 {
    UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: at, as: UInt16.self))
  }

  /// Bytes from the IP header to the end of the transport header, which every segment of a super-packet has; 0 where
  /// they cannot be read.
  func headerBytes(_ frame: UnsafeRawPointer, _ length: Int) -> Int {
    guard let transport else { return 0 }
    guard next == 6 else { return transport - network + 8 }
    // The data offset is the upper half of TCP's byte 12, in words of four bytes, RFC 9293 §3.1.
    guard transport + 13 <= length else { return 0 }
    return transport - network + Int(frame.load(fromByteOffset: transport + 12, as: UInt8.self) >> 4) * 4
  }
}

extension PacketShape {
  /// Its address, and its port where the packet shows one, else 0.
  public var source: Endpoint {
    Endpoint(
      Address(high: UInt64(bigEndian: key.local0), low: UInt64(bigEndian: key.local1)),
      UInt16(bigEndian: UInt16(truncatingIfNeeded: key.ends)))
  }

  /// The same of the other end.
  public var destination: Endpoint {
    Endpoint(
      Address(high: UInt64(bigEndian: key.remote0), low: UInt64(bigEndian: key.remote1)),
      UInt16(bigEndian: UInt16(truncatingIfNeeded: key.ends >> 16)))
  }
}
