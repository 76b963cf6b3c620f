internal import CLinux
internal import Glibc
internal import Linux

/// Moves frames by packet sockets: from the sink, where the gate sends them, to the outside. Super-packets and partial
/// checksums stay what they are on the way.
final class PacketSocketEngine: PacketEngine {
  private let seeing: PortSocket
  private let sending: PortSocket
  private let counters: InlineCounters
  private let memory: Mapping
  private let messages: UnsafeMutablePointer<clinux_mmsghdr>
  private let vectors: UnsafeMutablePointer<iovec>
  private let frames: UnsafeMutablePointer<PacketFrame>

  /// `struct virtio_net_hdr` of <linux/virtio_net.h>, which stands before each frame.
  private static let headerBytes = 10
  private static let segmentSizeOffset = 4
  /// Before the header, so that the IP header is aligned.
  private static let padding = 6
  /// The kernel's largest super-packet, 64 KiB from the IP header on, with Ethernet and two tags.
  private static let longest = 65536 + 14 + 8
  private static let stride = (padding + headerBytes + longest + 4095) & ~4095

  init(seeing: PortSocket, sending: PortSocket, _ counters: InlineCounters) throws(SystemError) {
    self.seeing = seeing
    self.sending = sending
    self.counters = counters
    let memory = try Mapping(
      "packet memory", size: Rewriter.burst * Self.stride, flags: MAP_PRIVATE | MAP_ANONYMOUS)
    messages = .allocate(capacity: Rewriter.burst)
    vectors = .allocate(capacity: Rewriter.burst)
    frames = .allocate(capacity: Rewriter.burst)
    for place in 0..<Rewriter.burst {
      let start = memory.start + place * Self.stride + Self.padding
      (vectors + place).initialize(
        to: iovec(iov_base: start, iov_len: Self.headerBytes + Self.longest))
      var message = clinux_mmsghdr()
      message.msg_hdr.msg_iov = vectors + place
      message.msg_hdr.msg_iovlen = 1
      (messages + place).initialize(to: message)
      (frames + place).initialize(
        to: PacketFrame(start: start + Self.headerBytes, length: 0, segmentSize: 0))
    }
    self.memory = memory
  }

  deinit {
    messages.deallocate()
    vectors.deallocate()
    frames.deallocate()
  }

  var descriptors: [Int32] { [seeing.descriptor] }
  var patience: Int32? { nil }

  func turn(_ rewriter: inout Rewriter) throws(SystemError) -> Int {
    for place in 0..<Rewriter.burst { vectors[place].iov_len = Self.headerBytes + Self.longest }
    let received = clinux_recvmmsg(
      seeing.descriptor, messages, UInt32(Rewriter.burst), Int32(MSG_DONTWAIT))
    guard received > 0 else {
      if errno == EAGAIN || errno == EINTR { return 0 }
      // ENETDOWN: the sink is gone, and with it what the gate sends there.
      throw SystemError("recvmmsg", "the sink")
    }
    let count = Int(received)
    for place in 0..<count {
      let length = Int(messages[place].msg_len)
      vectors[place].iov_len = length
      frames[place].length = max(0, length - Self.headerBytes)
      frames[place].segmentSize = Int(
        frames[place].start.loadUnaligned(
          fromByteOffset: Self.segmentSizeOffset - Self.headerBytes, as: UInt16.self))
    }
    InlineCounters.add(count, to: counters.received)
    rewriter.rewrite(frames, count)
    sending.send(messages, count, counters)
    return count
  }
}
