internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// Moves frames by packet sockets that know no vnet headers: the kernel has segmented them and summed them up before it
/// puts them into a ring (packet(7), TPACKET_V3), and they are marked and sent from there.
final class PacketRingEngine: PacketEngine {
  private let seeing: PortSocket
  private let sending: PortSocket
  private let counters: InlineCounters
  private let memory: Mapping
  private let messages: UnsafeMutablePointer<clinux_mmsghdr>
  private let vectors: UnsafeMutablePointer<iovec>
  private let frames: UnsafeMutablePointer<PacketFrame>
  /// The block that comes next, or that is being read.
  private var block = 0
  /// Of the block that is being read: the frames that are left, and where the next one is.
  private var left = 0
  private var next = UnsafeMutableRawPointer(bitPattern: 0)

  private static let blockBytes = Int(PortSocket.ring.tp_block_size)
  private static let blocks = Int(PortSocket.ring.tp_block_nr)
  // struct tpacket_block_desc of <linux/if_packet.h>: version, offset of private data, then tpacket_hdr_v1: status, number
  // of packets, offset of the first.
  private static let (statusOffset, countOffset, firstOffset) = (8, 12, 16)
  // struct tpacket3_hdr: offset of the next packet, seconds, nanoseconds, bytes that are there, bytes that there were,
  // status, then where Ethernet starts in 16 bits.
  private static let (nextOffset, thereOffset, longOffset, startOffset) = (0, 12, 16, 24)

  init(seeing: PortSocket, sending: PortSocket, _ counters: InlineCounters) throws(SystemError) {
    self.seeing = seeing
    self.sending = sending
    self.counters = counters
    memory = try Mapping(
      "packet ring", size: Self.blocks * Self.blockBytes, flags: MAP_SHARED, seeing.descriptor)
    messages = .allocate(capacity: Rewriter.burst)
    vectors = .allocate(capacity: Rewriter.burst)
    frames = .allocate(capacity: Rewriter.burst)
    for place in 0..<Rewriter.burst {
      (vectors + place).initialize(to: iovec())
      var message = clinux_mmsghdr()
      message.msg_hdr.msg_iov = vectors + place
      message.msg_hdr.msg_iovlen = 1
      (messages + place).initialize(to: message)
      (frames + place).initialize(to: PacketFrame(start: memory.start, length: 0, segmentSize: 0))
    }
  }

  deinit {
    messages.deallocate()
    vectors.deallocate()
    frames.deallocate()
  }

  var descriptors: [Int32] { [seeing.descriptor] }

  /// A block that is not handed over yet may have frames already.
  var patience: Int32? {
    start.load(fromByteOffset: Self.countOffset, as: UInt32.self) > 0 ? 1 : nil
  }

  private var start: UnsafeMutableRawPointer { memory.start + block * Self.blockBytes }

  func turn(_ rewriter: inout Rewriter) throws(SystemError) -> Int {
    guard left > 0 || open() else {
      try check()
      return 0
    }
    var count = 0
    var cut = 0
    while left > 0, count < Rewriter.burst, let header = next {
      let length = Int(header.load(fromByteOffset: Self.thereOffset, as: UInt32.self))
      if length == Int(header.load(fromByteOffset: Self.longOffset, as: UInt32.self)) {
        let frame = header + Int(header.load(fromByteOffset: Self.startOffset, as: UInt16.self))
        frames[count].start = frame
        frames[count].length = length
        vectors[count] = iovec(iov_base: frame, iov_len: length)
        count += 1
      } else {
        cut += 1
      }
      next = header + Int(header.load(fromByteOffset: Self.nextOffset, as: UInt32.self))
      left -= 1
    }
    InlineCounters.add(count + cut, to: counters.received)
    InlineCounters.add(cut, to: counters.unsent)
    rewriter.rewrite(frames, count)
    sending.send(messages, count, counters)
    if left == 0 { close() }
    return count + cut
  }

  /// Whether the kernel has handed over the next block.
  private func open() -> Bool {
    let status = start.load(fromByteOffset: Self.statusOffset, as: UInt32.self)
    guard status & UInt32(TP_STATUS_USER) != 0 else { return false }
    // What the kernel wrote before the status is read after it.
    atomicMemoryFence(ordering: .acquiring)
    left = Int(start.load(fromByteOffset: Self.countOffset, as: UInt32.self))
    next = start + Int(start.load(fromByteOffset: Self.firstOffset, as: UInt32.self))
    if left == 0 { close() }
    return left > 0
  }

  /// Gives the block back.
  private func close() {
    atomicMemoryFence(ordering: .releasing)
    start.storeBytes(of: 0, toByteOffset: Self.countOffset, as: UInt32.self)
    start.storeBytes(of: UInt32(TP_STATUS_KERNEL), toByteOffset: Self.statusOffset, as: UInt32.self)
    block = (block + 1) % Self.blocks
  }

  /// - Throws: where the sink is gone.
  private func check() throws(SystemError) {
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    let status = getsockopt(seeing.descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
    guard status != 0 || code != 0 else { return }
    throw SystemError("packet ring", "the sink", code: status == 0 ? code : errno)
  }
}
