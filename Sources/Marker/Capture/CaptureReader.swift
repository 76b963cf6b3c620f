import Glibc
import Linux

/// Reads captured packets from a pcapng file (draft-ietf-opsawg-pcapng), or a classic pcap file
/// (draft-ietf-opsawg-pcap), of either byte order. It may be a pipe that is still written to.
///
/// Nothing in a file is believed: each length is held against what is there, and what is wrong is told with its place.
struct CaptureReader: ~Copyable {
  /// As people know it, for errors.
  let name: String
  /// Those that were told of so far.
  private(set) var interfaces: [CaptureInterface] = []
  private var stream: ByteStream
  private var isSwapped = false
  /// Nil for pcapng.
  private var pcap: PcapKind?
  /// The interfaces of the section that is being read come from here on.
  private var firstInterface = 0

  private struct PcapKind { let ticksPerSecond: UInt64 }
  /// More than any packet with all that can be said of it. What claims to be larger is no capture.
  private static let largestBlock = 16 << 20
  /// More interfaces than a host has, in a file that only pretends to have them.
  private static let mostInterfaces = 65_536

  private enum BlockType {
    static let section: UInt32 = 0x0a0d_0d0a
    static let interface: UInt32 = 1
    static let oldPacket: UInt32 = 2
    static let simplePacket: UInt32 = 3
    static let packet: UInt32 = 6
  }
  private static let byteOrder: UInt32 = 0x1a2b_3c4d
  /// Classic files: times in microseconds, or nanoseconds.
  private static let micro: UInt32 = 0xa1b2_c3d4
  private static let nano: UInt32 = 0xa1b2_3c4d

  /// Whether a file that begins so is a capture.
  static func recognises(_ start: some Collection<UInt8>) -> Bool {
    guard start.count >= 4 else { return false }
    let word = start.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    return word == BlockType.section || [micro, nano].contains { $0 == word || $0 == word.byteSwapped }
  }

  /// - Throws: where it is no capture.
  init(_ name: String, _ fill: @escaping ByteStream.Fill) throws(CaptureError) {
    var stream = ByteStream(fill)
    var pcap: PcapKind?
    var isSwapped = false
    var interfaces: [CaptureInterface] = []
    let count = try Self.reading(name, 0) { () throws(SystemError) in try stream.look(24) }
    guard count >= 4 else {
      throw CaptureError(name: name, offset: 0, reason: "too short for a capture file")
    }
    let word = stream.bytes(4).loadUnaligned(as: UInt32.self)
    if word != BlockType.section {
      isSwapped = word != Self.micro && word != Self.nano
      let kind = isSwapped ? word.byteSwapped : word
      guard kind == Self.micro || kind == Self.nano else {
        throw CaptureError(name: name, offset: 0, reason: "neither a pcapng nor a pcap file begins so")
      }
      guard count == 24 else {
        throw CaptureError(
          name: name, offset: 0, reason: "the header of a pcap file has 24 bytes, not \(count)")
      }
      let numbers = FileNumbers(bytes: stream.bytes(24), isSwapped: isSwapped)
      let ticks: UInt64 = kind == Self.nano ? 1_000_000_000 : 1_000_000
      pcap = PcapKind(ticksPerSecond: ticks)
      // The upper half says whether there are frame check sequences.
      interfaces.append(
        CaptureInterface(
          name: "", link: UInt16(truncatingIfNeeded: numbers.word(20)), snapLength: numbers.word(16),
          ticksPerSecond: ticks))
      stream.take(24)
    }
    self.name = name
    self.stream = stream
    self.pcap = pcap
    self.isSwapped = isSwapped
    self.interfaces = interfaces
  }

  /// The next packet; nil at the end. Its frame is valid until the next call.
  mutating func next() throws(CaptureError) -> CapturedPacket? {
    if let pcap { return try nextRecord(pcap) }
    while try look(12) > 0 {
      if let packet = try nextBlock() { return packet }
    }
    return nil
  }

  // MARK: pcap

  private mutating func nextRecord(_ kind: PcapKind) throws(CaptureError) -> CapturedPacket? {
    let count = try look(16)
    if count == 0 { return nil }
    try require(count == 16, "the file ends within the header of a packet")
    let numbers = FileNumbers(bytes: stream.bytes(16), isSwapped: isSwapped)
    let (seconds, fraction) = (numbers.word(0), numbers.word(4))
    let (kept, length) = (Int(numbers.word(8)), Int(numbers.word(12)))
    try require(kept <= Self.largestBlock, "a packet of \(kept) bytes, which is none")
    try require(try look(16 + kept) == 16 + kept, "the file ends within a packet")
    let frame = UnsafeRawBufferPointer(rebasing: stream.bytes(16 + kept)[16...])
    stream.take(16 + kept)
    let time =
      Int64(seconds) * 1_000_000_000 + Int64(UInt64(fraction) * (1_000_000_000 / kind.ticksPerSecond))
    return CapturedPacket(frame: frame, length: max(length, kept), time: time, interface: 0, direction: nil)
  }

  // MARK: pcapng

  /// A block: its type, its length, what it holds, its length again.
  private mutating func nextBlock() throws(CaptureError) -> CapturedPacket? {
    try require(try look(12) == 12, "the file ends within the header of a block")
    if FileNumbers(bytes: stream.bytes(12), isSwapped: false).word(0) == BlockType.section {
      let order = FileNumbers(bytes: stream.bytes(12), isSwapped: false).word(8)
      try require(
        order == Self.byteOrder || order.byteSwapped == Self.byteOrder,
        "the section's byte order is none: expected 1a2b3c4d")
      isSwapped = order != Self.byteOrder
    }
    let head = FileNumbers(bytes: stream.bytes(12), isSwapped: isSwapped)
    let (type, length) = (head.word(0), Int(head.word(4)))
    try require(
      length >= 12 && length <= Self.largestBlock && length % 4 == 0,
      "a block of \(length) bytes: expected a multiple of 4 from 12 to \(Self.largestBlock)")
    try require(try look(length) == length, "the file ends within a block of \(length) bytes")
    let block = FileNumbers(bytes: stream.bytes(length), isSwapped: isSwapped)
    let again = block.word(length - 4)
    try require(again == UInt32(length), "a block's lengths differ: \(length) before it, \(again) behind it")
    let packet = try read(block, type, end: length - 4)
    stream.take(length)
    return packet
  }

  private mutating func read(
    _ block: FileNumbers, _ type: UInt32, end: Int
  ) throws(CaptureError) -> CapturedPacket? {
    switch type {
    case BlockType.section:
      try require(end >= 24, "a section header of \(end + 4) bytes")
      try require(block.half(12) == 1, "version \(block.half(12)) of pcapng, of which only 1 is known")
      firstInterface = interfaces.count
      return nil
    case BlockType.interface:
      try require(end >= 16, "an interface's block of \(end + 4) bytes")
      try require(interfaces.count < Self.mostInterfaces, "more than \(Self.mostInterfaces) interfaces")
      interfaces.append(try interface(block, end: end))
      return nil
    case BlockType.packet:
      try require(end >= 28, "a packet's block of \(end + 4) bytes")
      return try packet(block, number: Int(block.word(8)), end: end)
    case BlockType.oldPacket:
      try require(end >= 28, "a packet's block of \(end + 4) bytes")
      return try packet(block, number: Int(block.half(8)), end: end)
    case BlockType.simplePacket:
      try require(end >= 12, "a packet's block of \(end + 4) bytes")
      let place = try place(0)
      let length = Int(block.word(8))
      let limit = Int(interfaces[place].snapLength)
      let kept = min(length, end - 12, limit == 0 ? .max : limit)
      return CapturedPacket(
        frame: UnsafeRawBufferPointer(rebasing: block.bytes[12..<12 + kept]), length: length, time: 0,
        interface: place, direction: nil)
    default: return nil
    }
  }

  private func place(_ number: Int) throws(CaptureError) -> Int {
    let place = firstInterface + number
    try require(place < interfaces.count, "a packet of interface \(number), which the file does not describe")
    return place
  }

  private func packet(_ block: FileNumbers, number: Int, end: Int) throws(CaptureError) -> CapturedPacket {
    let place = try place(number)
    let (kept, length) = (Int(block.word(20)), Int(block.word(24)))
    try require(28 + kept <= end, "a packet of \(kept) bytes in a block of \(end + 4)")
    var direction: CapturedPacket.Direction?
    let options = min(28 + (kept + 3) & ~3, end)
    block.forEachOption(options..<end) { code, range in
      // epb_flags: the two lowest bits are the direction, 1 in, 2 out.
      guard code == 2, range.count == 4 else { return }
      switch block.word(range.lowerBound) & 3 {
      case 1: direction = .incoming
      case 2: direction = .outgoing
      default: break
      }
    }
    return CapturedPacket(
      frame: UnsafeRawBufferPointer(rebasing: block.bytes[28..<28 + kept]), length: max(length, kept),
      time: interfaces[place].nanoseconds(block.time(12)), interface: place, direction: direction)
  }

  private func interface(_ block: FileNumbers, end: Int) throws(CaptureError) -> CaptureInterface {
    var made = CaptureInterface(name: "", link: block.half(8), snapLength: block.word(12))
    var resolution: UInt8?
    block.forEachOption(16..<end) { code, range in
      switch code {
      // if_name, if_tsresol, if_tsoffset.
      case 2: made.name = String(decoding: block.bytes[range].prefix { $0 != 0 }, as: UTF8.self)
      case 9 where range.count == 1: resolution = block.bytes[range.lowerBound]
      case 14 where range.count == 8: made.offset = Int64(bitPattern: block.double(range.lowerBound))
      default: break
      }
    }
    guard let resolution else { return made }
    // A power of 2 where the uppermost bit is set, else of 10. No clock ticks faster than 64 bits hold.
    let power = Int(resolution & 0x7f)
    let isBinary = resolution & 0x80 != 0
    try require(power <= (isBinary ? 63 : 19), "times in units of \(isBinary ? 2 : 10)^-\(power) seconds")
    made.ticksPerSecond = isBinary ? 1 << UInt64(power) : (0..<power).reduce(1) { product, _ in product * 10 }
    return made
  }

  // MARK: bytes

  private mutating func look(_ count: Int) throws(CaptureError) -> Int {
    do throws(SystemError) { return try stream.look(count) } catch {
      throw CaptureError(name: name, offset: stream.offset, reason: "\(error)")
    }
  }

  private func require(_ isRight: Bool, _ reason: @autoclosure () -> String) throws(CaptureError) {
    guard isRight else { throw CaptureError(name: name, offset: stream.offset, reason: reason()) }
  }

  private static func reading(
    _ name: String, _ offset: UInt64, _ body: () throws(SystemError) -> Int
  ) throws(CaptureError) -> Int {
    do throws(SystemError) { return try body() } catch {
      throw CaptureError(name: name, offset: offset, reason: "\(error)")
    }
  }
}

extension CaptureInterface {
  /// Nanoseconds since 1970 of a time in its units, at the nearest end of what 64 bits hold where it is beyond.
  func nanoseconds(_ ticks: UInt64) -> Int64 {
    let (seconds, rest) = ticks.quotientAndRemainder(dividingBy: ticksPerSecond)
    let product = rest.multipliedFullWidth(by: 1_000_000_000)
    let fraction = ticksPerSecond.dividingFullWidth(product).quotient
    let whole = Int64(clamping: seconds).addingReportingOverflow(offset)
    let clamped = whole.overflow ? (offset < 0 ? Int64.min : .max) : whole.partialValue
    let nanoseconds = clamped.multipliedReportingOverflow(by: 1_000_000_000)
    guard !nanoseconds.overflow else { return clamped < 0 ? .min : .max }
    let sum = nanoseconds.partialValue.addingReportingOverflow(Int64(fraction))
    return sum.overflow ? .max : sum.partialValue
  }
}

extension CaptureReader {
  /// Opens a file; `-` is standard input.
  init(file path: String) throws(CaptureError) {
    let name = path == "-" ? "standard input" : path
    let file: OpenFile
    do throws(SystemError) { file = try OpenFile(path) } catch {
      throw CaptureError(name: name, offset: 0, reason: "\(error)")
    }
    try self.init(name) { room throws(SystemError) in
      try system("read", name) { Glibc.read(file.raw, room.baseAddress, room.count) }
    }
  }
}

/// A file that is read, or standard input, which stays open.
final class OpenFile {
  private let descriptor: Descriptor
  var raw: Int32 { descriptor.raw }

  init(owning descriptor: consuming Descriptor) { self.descriptor = descriptor }

  /// - Parameter path: `-` is standard input.
  init(_ path: String) throws(SystemError) {
    descriptor = try Descriptor("open", path) {
      path == "-" ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC)
    }
  }
}
