internal import CLinux
internal import CXDP
internal import Glibc
internal import Linux

/// Moves frames by AF_XDP: a socket for each receive queue of the inside, one that sends by the outside, and one memory
/// for all, so that a frame is sent from where it was received.
final class XDPEngine: PacketEngine {
  private var memory: FrameMemory
  private let receivers: [XDPSocket]
  private let sender: XDPSocket
  private let counters: InlineCounters
  private let frames: UnsafeMutablePointer<PacketFrame>
  private let addresses: UnsafeMutablePointer<UInt64>
  private let isZeroCopy: Bool
  /// Of each queue's rings.
  private let entries: UInt32

  /// Frames for each queue: as many as are received into, and as many again on their way out.
  private static func frames(_ entries: UInt32) -> Int { 2 * Int(entries) }

  /// Entries of a queue's rings, so that the memory of all queues is 128 MiB at most, up to 1024 queues.
  static func entries(queues: Int) -> UInt32 {
    var entries = XDPSocket.mostEntries
    while entries > 16, queues * frames(entries) * FrameMemory.frameSize > 128 << 20 { entries /= 2 }
    return entries
  }

  /// - Parameters:
  ///   - queues: of the inside.
  ///   - zeroCopy: whether to ask for it; the drivers of both have to have it.
  init(
    _ pair: InlinePair, queues: Int, zeroCopy: Bool, _ counters: InlineCounters
  ) throws(SystemError) {
    let entries = Self.entries(queues: queues)
    let memory = try FrameMemory(frames: queues * Self.frames(entries))
    var config = xsk_umem_config()
    config.fill_size = entries
    config.comp_size = XDPSocket.mostEntries
    config.frame_size = UInt32(FrameMemory.frameSize)
    let first = XDPSocket.freshRings()
    var handle: OpaquePointer?
    let status = xsk_umem__create(
      &handle, memory.mapping.start, UInt64(memory.mapping.size), ring(first, \.fill),
      ring(first, \.completion),
      &config)
    guard status == 0, let handle else {
      first.deallocate()
      throw SystemError("XDP_UMEM_REG", "\(memory.mapping.size >> 20) MiB", code: -status)
    }
    let registration = XDPSocket.Registration(handle)
    let flags = zeroCopy ? XDP_ZEROCOPY : XDP_COPY
    var receivers: [XDPSocket] = []
    for queue in 0..<queues {
      receivers.append(
        try XDPSocket(
          pair.inside.name, queue: UInt32(queue), .receiving, registration,
          queue == 0 ? first : XDPSocket.freshRings(), entries: entries, flags: flags))
    }
    let sender = try XDPSocket(
      pair.outside.name, queue: 0, .sending, registration, XDPSocket.freshRings(),
      entries: XDPSocket.mostEntries,
      flags: flags)
    self.entries = entries
    self.receivers = receivers
    self.sender = sender
    self.counters = counters
    isZeroCopy = zeroCopy
    frames = .allocate(capacity: Rewriter.burst)
    addresses = .allocate(capacity: Rewriter.burst)
    self.memory = memory
    for receiver in receivers { refill(receiver) }
  }

  deinit {
    frames.deallocate()
    addresses.deallocate()
  }

  /// The sockets by their queues.
  var sockets: [Int32] { receivers.map(\.descriptor) }
  var descriptors: [Int32] { sockets }
  /// What was sent comes back without a word.
  var patience: Int32? { memory.sending > 0 ? 1 : nil }

  func turn(_ rewriter: inout Rewriter) throws(SystemError) -> Int {
    var moved = 0
    reap()
    for receiver in receivers {
      refill(receiver)
      moved += receive(receiver, &rewriter)
    }
    if memory.sending > 0 { try push() }
    reap()
    counters.note(memory)
    return moved
  }

  /// Takes back what was sent.
  private func reap() {
    var index: UInt32 = 0
    let completion = ring(sender.rings, \.completion)
    while true {
      let count = xsk_ring_cons__peek(completion, UInt32(Rewriter.burst), &index)
      guard count > 0 else { return }
      for place in 0..<count {
        guard let address = xsk_ring_cons__comp_addr(completion, index &+ place) else { continue }
        memory.giveBack(address.pointee)
      }
      xsk_ring_cons__release(completion, count)
    }
  }

  /// Lends the kernel frames to receive into, as many as there is room for.
  private func refill(_ receiver: XDPSocket) {
    let fill = ring(receiver.rings, \.fill)
    let room = min(xsk_prod_nb_free(fill, entries), UInt32(clamping: memory.free))
    var index: UInt32 = 0
    if room > 0, xsk_ring_prod__reserve(fill, room, &index) == room {
      var lent: UInt32 = 0
      while lent < room, let address = memory.lend() {
        xsk_ring_prod__fill_addr(fill, index &+ lent)?.pointee = address
        lent += 1
      }
      if lent < room { fill?.pointee.cached_prod &-= room - lent }
      xsk_ring_prod__submit(fill, lent)
    }
    // The driver stopped because it had no frames.
    if xsk_ring_prod__needs_wakeup(fill) != 0 { _ = recv(receiver.descriptor, nil, 0, Int32(MSG_DONTWAIT)) }
  }

  /// Has up to a burst of frames rewritten and put in the sender's ring.
  private func receive(_ receiver: XDPSocket, _ rewriter: inout Rewriter) -> Int {
    let (receive, send) = (ring(receiver.rings, \.receive), ring(sender.rings, \.send))
    // What cannot be sent stays where it is: if more comes than leaves, the kernel counts it.
    let room = min(xsk_prod_nb_free(send, UInt32(Rewriter.burst)), UInt32(Rewriter.burst))
    var index: UInt32 = 0
    let count = Int(xsk_ring_cons__peek(receive, room, &index))
    guard count > 0 else { return 0 }
    var usable = 0
    for place in 0..<count {
      guard let descriptor = xsk_ring_cons__rx_desc(receive, index &+ UInt32(place))?.pointee,
        // The kernel wrote it; a frame outside our memory would be its fault, and is not touched.
        Int(truncatingIfNeeded: descriptor.addr) &+ Int(descriptor.len) <= memory.mapping.size,
        memory.pass(descriptor.addr)
      else { continue }
      addresses[usable] = descriptor.addr
      frames[usable] = PacketFrame(
        start: memory.mapping.start + Int(descriptor.addr), length: Int(descriptor.len), segmentSize: 0)
      usable += 1
    }
    xsk_ring_cons__release(receive, UInt32(count))
    rewriter.rewrite(frames, usable)
    var completed = 0
    for place in 0..<usable where PartialChecksum.complete(frames[place].start, frames[place].length) {
      completed += 1
    }
    InlineCounters.add(completed, to: counters.completedChecksums)
    InlineCounters.add(count, to: counters.received)
    var target: UInt32 = 0
    // There is room: only this thread fills the ring.
    guard xsk_ring_prod__reserve(send, UInt32(usable), &target) == UInt32(usable) else { return count }
    for place in 0..<usable {
      xsk_ring_prod__tx_desc(send, target &+ UInt32(place))?.pointee = xdp_desc(
        addr: addresses[place], len: UInt32(frames[place].length), options: 0)
    }
    xsk_ring_prod__submit(send, UInt32(usable))
    InlineCounters.add(usable, to: counters.sent)
    return count
  }

  /// Has the kernel send what is in the ring. In copy mode it does so in this call, some packets at a time.
  ///
  /// - Throws: where the outside sends nothing any more.
  private func push() throws(SystemError) {
    guard xsk_ring_prod__needs_wakeup(ring(sender.rings, \.send)) != 0 else { return }
    for _ in 0..<Int(XDPSocket.mostEntries) {
      guard sendto(sender.descriptor, nil, 0, Int32(MSG_DONTWAIT), nil, 0) < 0 else { return }
      switch errno {
      // More than the kernel sends at a time.
      case EAGAIN where !isZeroCopy:
        let before = memory.sending
        reap()
        // It took none: the device's queue is full, and the next turn is soon enough.
        if memory.sending == before { return }
      // The device's queue had no room: the packet is lost.
      case EBUSY: InlineCounters.add(1, to: counters.unsent)
      case EAGAIN, EINTR, ENOBUFS: return
      default: throw SystemError("send by AF_XDP", "the outside")
      }
    }
  }
}
