/// What the kernel tells of a TCP connection: `struct tcp_info` (linux/tcp.h), as long as this kernel makes it.
///
/// Fields were only ever added at the end. Where a kernel is older than a field, the field is nil.
public struct TCPInfo: Sendable {
  /// The bytes that are kept: all up to tcpi_snd_wnd, which came with Linux 5.4.
  public static let capacity = 232

  /// A field of `struct tcp_info`, in host byte order.
  public struct Field: Hashable, Sendable {
    /// From the beginning of the structure, bytes.
    let offset: Int
    /// 1, 4 or 8 bytes.
    let width: Int
    /// Bits of a byte that several fields share.
    var shift: UInt8 = 0
    var mask: UInt64 = .max

    static func byte(_ offset: Int) -> Field { Field(offset: offset, width: 1) }
    static func bits(_ offset: Int, shift: UInt8, mask: UInt64) -> Field {
      Field(offset: offset, width: 1, shift: shift, mask: mask)
    }
    static func word(_ offset: Int) -> Field { Field(offset: offset, width: 4) }
    static func long(_ offset: Int) -> Field { Field(offset: offset, width: 8) }
  }

  private var words = InlineArray<29, UInt64>(repeating: 0)
  private var size: UInt8
  /// The congestion control's name, sixteen bytes padded with zeroes (TCP_CA_NAME_MAX, net/tcp.h).
  private var name: (UInt64, UInt64) = (0, 0)

  /// - Parameters:
  ///   - bytes: the value of INET_DIAG_INFO (linux/inet_diag.h), of any length.
  ///   - congestion: that of INET_DIAG_CONG, with or without a zero at its end.
  public init(_ bytes: UnsafeRawBufferPointer, congestion: UnsafeRawBufferPointer? = nil) {
    size = UInt8(min(bytes.count, Self.capacity))
    let count = Int(size)
    withUnsafeMutableBytes(of: &words) {
      $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    }
    guard let congestion else { return }
    withUnsafeMutableBytes(of: &name) { name in
      for (index, byte) in congestion.prefix(name.count).enumerated() {
        if byte == 0 { break }
        name[index] = byte
      }
    }
  }

  /// Nil where the kernel has no such field.
  public subscript(_ field: Field) -> UInt64? {
    guard field.offset + field.width <= Int(size) else { return nil }
    return withUnsafeBytes(of: words) { bytes in
      switch field.width {
      case 1: UInt64(bytes[field.offset]) >> field.shift & field.mask
      case 4: UInt64(bytes.loadUnaligned(fromByteOffset: field.offset, as: UInt32.self))
      default: bytes.loadUnaligned(fromByteOffset: field.offset, as: UInt64.self)
      }
    }
  }

  /// Calls the body with the bytes of the congestion control's name; none where it is not known.
  public func withCongestion(_ body: (UnsafeRawBufferPointer) -> Void) {
    withUnsafeBytes(of: name) { bytes in
      body(UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.firstIndex(of: 0) ?? bytes.count)]))
    }
  }

  /// The congestion control's name; empty where it is not known.
  public var congestion: String {
    var text = ""
    withCongestion { text = String(decoding: $0, as: UTF8.self) }
    return text
  }

  /// Payload bytes both ways; nil on kernels before 4.1, which do not count them.
  public var bytes: SocketBytes? {
    guard let acked = self[.bytesAcked], let received = self[.bytesReceived] else { return nil }
    // A SYN and a FIN that were acknowledged count as a byte each there, and are not among the bytes sent.
    let payload = self[.bytesSent].flatMap { sent in self[.bytesRetransmitted].map { sent &- $0 } }
    return SocketBytes(sent: min(acked, payload ?? acked), received: received)
  }
}

extension TCPInfo.Field {
  /// `TCP_ESTABLISHED` and so on (net/tcp_states.h).
  public static let state = byte(0)
  public static let congestionState = byte(1)
  public static let retransmits = byte(2)
  public static let probes = byte(3)
  public static let backoff = byte(4)
  /// `TCPI_OPT_…`.
  public static let options = byte(5)
  #if _endian(little)
    public static let sendWindowScale = bits(6, shift: 0, mask: 0xf)
    public static let receiveWindowScale = bits(6, shift: 4, mask: 0xf)
    public static let deliveryRateIsLimited = bits(7, shift: 0, mask: 1)
    public static let fastOpenFailure = bits(7, shift: 1, mask: 3)
  #else
    public static let sendWindowScale = bits(6, shift: 4, mask: 0xf)
    public static let receiveWindowScale = bits(6, shift: 0, mask: 0xf)
    public static let deliveryRateIsLimited = bits(7, shift: 7, mask: 1)
    public static let fastOpenFailure = bits(7, shift: 5, mask: 3)
  #endif
  /// Microseconds.
  public static let rto = word(8)
  /// Microseconds.
  public static let ato = word(12)
  /// Bytes.
  public static let sendMSS = word(16)
  /// Bytes.
  public static let receiveMSS = word(20)
  public static let unacked = word(24)
  public static let sacked = word(28)
  public static let lost = word(32)
  public static let retrans = word(36)
  public static let fackets = word(40)
  /// Milliseconds ago, as the next three.
  public static let lastDataSent = word(44)
  public static let lastAckSent = word(48)
  public static let lastDataReceived = word(52)
  public static let lastAckReceived = word(56)
  /// Bytes.
  public static let pathMTU = word(60)
  public static let receiveThreshold = word(64)
  /// Microseconds.
  public static let rtt = word(68)
  /// Microseconds.
  public static let rttVariance = word(72)
  /// Segments.
  public static let sendThreshold = word(76)
  /// Segments.
  public static let congestionWindow = word(80)
  public static let advertisedMSS = word(84)
  public static let reordering = word(88)
  /// Microseconds.
  public static let receiveRTT = word(92)
  public static let receiveSpace = word(96)
  public static let totalRetrans = word(100)
  /// Bytes a second.
  public static let pacingRate = long(104)
  /// Bytes a second.
  public static let maximumPacingRate = long(112)
  /// Linux 4.1.
  public static let bytesAcked = long(120)
  public static let bytesReceived = long(128)
  /// Linux 4.2.
  public static let segmentsOut = word(136)
  public static let segmentsIn = word(140)
  /// Linux 4.6. Bytes.
  public static let notSentBytes = word(144)
  /// Microseconds.
  public static let minimumRTT = word(148)
  public static let dataSegmentsIn = word(152)
  public static let dataSegmentsOut = word(156)
  /// Linux 4.9. Bytes a second.
  public static let deliveryRate = long(160)
  /// Linux 4.10. Microseconds, as the next two.
  public static let busyTime = long(168)
  public static let receiveWindowLimited = long(176)
  public static let sendBufferLimited = long(184)
  /// Linux 4.18.
  public static let delivered = word(192)
  public static let deliveredCE = word(196)
  /// Linux 4.19. With retransmissions.
  public static let bytesSent = long(200)
  public static let bytesRetransmitted = long(208)
  public static let duplicateSACKs = word(216)
  public static let reorderingSeen = word(220)
  /// Linux 5.4.
  public static let receivedOutOfOrder = word(224)
  /// Bytes.
  public static let sendWindow = word(228)
}

/// Payload bytes that a flow's socket has moved, as this host sees it.
public struct SocketBytes: Hashable, Sendable {
  /// Sent and acknowledged.
  public var sent: UInt64
  public var received: UInt64

  public init(sent: UInt64, received: UInt64) {
    self.sent = sent
    self.received = received
  }
}

/// A TCPInfo that announcements carry to where fireflies are made: a reference, because few have one and it is large.
public final class TCPReport: Sendable {
  public let info: TCPInfo

  public init(_ info: TCPInfo) { self.info = info }
}
