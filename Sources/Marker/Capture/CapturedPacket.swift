import Glibc

/// What stands before the IP header of a captured frame. The raw values are those of capture files
/// (tcpdump.org/linktypes.html).
enum LinkType: UInt16, Sendable {
  /// A protocol family of four bytes, in the order of the host that captured.
  case null = 0
  case ethernet = 1
  /// The frame begins with the IP header, of either version.
  case raw = 101
  /// As `null`, in network order.
  case loop = 108
  /// What Linux makes of devices of all kinds: 16 bytes, the protocol in the last two.
  case cooked = 113
  case ipv4 = 228
  case ipv6 = 229
  /// 20 bytes, the protocol in the first two.
  case cooked2 = 276

  /// The protocol that the link layer names, and where that begins; nil where the frame is too short.
  func network(of frame: UnsafeRawBufferPointer) -> (etherType: UInt16, start: Int)? {
    switch self {
    case .ethernet: frame.count >= 14 ? (Self.half(frame, 12), 14) : nil
    case .cooked: frame.count >= 16 ? (Self.half(frame, 14), 16) : nil
    case .cooked2: frame.count >= 20 ? (Self.half(frame, 0), 20) : nil
    case .null, .loop: Self.version(frame, 4)
    case .raw, .ipv4, .ipv6: Self.version(frame, 0)
    }
  }

  /// The IP version stands in the header's first four bits (RFC 791 §3.1, RFC 8200 §3).
  private static func version(_ frame: UnsafeRawBufferPointer, _ start: Int) -> (
    etherType: UInt16, start: Int
  )? {
    guard start < frame.count else { return nil }
    switch frame[start] >> 4 {
    case 4: return (0x0800, start)
    case 6: return (0x86dd, start)
    default: return nil
    }
  }

  private static func half(_ frame: UnsafeRawBufferPointer, _ at: Int) -> UInt16 {
    UInt16(frame[at]) << 8 | UInt16(frame[at + 1])
  }
}

/// Where packets were captured.
struct CaptureInterface: Equatable, Sendable {
  /// Empty where it is not told.
  var name: String
  /// The link type's number, which may be one that nobody here knows.
  var link: UInt16
  /// The most bytes of a packet that are kept; 0 for all.
  var snapLength: UInt32
  /// The units of its times: so many a second.
  var ticksPerSecond: UInt64 = 1_000_000
  /// Added to its times, seconds.
  var offset: Int64 = 0
}

/// One packet as it was captured.
struct CapturedPacket {
  enum Direction: String, Sendable {
    case incoming = "in"
    case outgoing = "out"
  }
  enum Checksum: Sendable {
    /// Nothing is told of it.
    case unknown
    /// Found right by the card or the kernel.
    case valid
    /// The device that sends the packet computes it, so that what stands in it is not right yet.
    case unfinished
  }

  /// What was kept of it, from the link layer's header on. Valid until the next packet is asked for.
  var frame: UnsafeRawBufferPointer
  /// Bytes that it had.
  var length: Int
  /// Nanoseconds since 1970; 0 where it is not told.
  var time: Int64
  /// The place of its interface among those of the source.
  var interface: Int
  /// Nil where it is not told.
  var direction: Direction?
  var checksum = Checksum.unknown
}

/// Why a capture file cannot be read.
struct CaptureError: Error, CustomStringConvertible {
  let name: String
  /// Where, in bytes from the file's start.
  let offset: UInt64
  let reason: String

  var description: String { "\(name), byte \(offset): \(reason)" }
}
