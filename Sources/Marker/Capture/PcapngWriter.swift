import Glibc
import Linux

/// Writes packets into a pcapng file (draft-ietf-opsawg-pcapng) in this host's byte order, with what is known of each
/// as a comment, which Wireshark shows.
///
/// Allocates nothing for a packet once its buffer has grown.
struct PcapngWriter: ~Copyable {
  private let file: Descriptor
  private let path: String
  private var waiting: [UInt8] = []
  private var interfaces = 0
  /// What is written at once, bytes.
  private static let batch = 1 << 16

  /// - Parameter path: made anew where it exists; `-` is standard output.
  init(_ path: String) throws(SystemError) {
    let file = try Descriptor("open", path) {
      path == "-"
        ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
        : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    }
    self.file = file
    self.path = path
    waiting.reserveCapacity(2 * Self.batch)
    // Section header: the byte order's magic, version 1.0, a length that is not known (-1).
    block(0x0a0d_0d0a) { bytes in
      bytes.put(UInt32(0x1a2b_3c4d))
      bytes.put(UInt16(1))
      bytes.put(UInt16(0))
      bytes.put(UInt64.max)
      // shb_userappl
      bytes.put(option: 4, "marker \(Daemon.version)")
      bytes.put(UInt32(0))
    }
  }

  /// Adds an interface; packets name it by its place. Their times are written in nanoseconds.
  mutating func add(_ interface: CaptureInterface) throws(SystemError) {
    block(1) { bytes in
      bytes.put(interface.link)
      bytes.put(UInt16(0))
      bytes.put(interface.snapLength)
      // if_name; if_tsresol, the power of ten.
      if !interface.name.isEmpty { bytes.put(option: 2, interface.name) }
      bytes.put(UInt16(9))
      bytes.put(UInt16(1))
      bytes.put(UInt32(9).littleEndian)
      bytes.put(UInt32(0))
    }
    interfaces += 1
    try flushIfFull()
  }

  mutating func write(_ packet: CapturedPacket, comment: String) throws(SystemError) {
    block(6) { bytes in
      let time = UInt64(bitPattern: max(packet.time, 0))
      bytes.put(UInt32(packet.interface))
      bytes.put(UInt32(truncatingIfNeeded: time >> 32))
      bytes.put(UInt32(truncatingIfNeeded: time))
      bytes.put(UInt32(packet.frame.count))
      bytes.put(UInt32(packet.length))
      bytes.append(contentsOf: packet.frame)
      bytes.pad()
      // opt_comment; epb_flags, whose two lowest bits are the direction, 1 in, 2 out.
      if !comment.isEmpty { bytes.put(option: 1, comment) }
      if let direction = packet.direction {
        bytes.put(UInt16(2))
        bytes.put(UInt16(4))
        bytes.put(UInt32(direction == .incoming ? 1 : 2))
      }
      bytes.put(UInt32(0))
    }
    try flushIfFull()
  }

  /// What an interface has received and dropped in all: an interface statistics block.
  mutating func write(received: UInt64, dropped: UInt64, interface: Int, at time: Int64) throws(SystemError) {
    block(5) { bytes in
      let time = UInt64(bitPattern: max(time, 0))
      bytes.put(UInt32(interface))
      bytes.put(UInt32(truncatingIfNeeded: time >> 32))
      bytes.put(UInt32(truncatingIfNeeded: time))
      // isb_ifrecv, isb_ifdrop
      for (code, count) in [(UInt16(4), received), (5, dropped)] {
        bytes.put(code)
        bytes.put(UInt16(8))
        bytes.put(count)
      }
      bytes.put(UInt32(0))
    }
    try flushIfFull()
  }

  /// Hands all that waits to the kernel.
  mutating func flush() throws(SystemError) {
    var done = 0
    while done < waiting.count {
      done += try system("write", path) {
        waiting.withUnsafeBytes { Glibc.write(file.raw, $0.baseAddress.map { $0 + done }, $0.count - done) }
      }
    }
    waiting.removeAll(keepingCapacity: true)
  }

  private mutating func flushIfFull() throws(SystemError) {
    if waiting.count >= Self.batch { try flush() }
  }

  private mutating func block(_ type: UInt32, _ body: (inout [UInt8]) -> Void) {
    let start = waiting.count
    waiting.put(type)
    waiting.put(UInt32(0))
    body(&waiting)
    let length = UInt32(waiting.count - start + 4)
    waiting.put(length)
    waiting.withUnsafeMutableBytes { $0.storeBytes(of: length, toByteOffset: start + 4, as: UInt32.self) }
  }
}

extension [UInt8] {
  fileprivate mutating func put(_ value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value) { append(contentsOf: $0) }
  }

  /// A text option of a block. Longer than an option can be, it is cut.
  fileprivate mutating func put(option code: UInt16, _ text: String) {
    let bytes = text.utf8.prefix(0xffff)
    put(code)
    put(UInt16(bytes.count))
    append(contentsOf: bytes)
    pad()
  }

  /// To a multiple of four: every block before ends at one.
  fileprivate mutating func pad() {
    while count % 4 != 0 { append(0) }
  }
}
