// CBPF, CXDP: of the several copies of <bits/socket_type.h> and <linux/if_xdp.h>, theirs may be the ones
// that Swift takes.
internal import CBPF
internal import CLinux
internal import CXDP
internal import Glibc
internal import Linux
internal import Synchronization

/// An AF_XDP socket that only receives, with the memory for its packets: enough for trying whether one gets through.
struct TrialXDPSocket: ~Copyable {
  /// Bytes for one packet, the least that the kernel takes.
  static let frameSize = 2048
  // AF_XDP and SOL_XDP of <linux/socket.h>.
  private static let family: Int32 = 44
  private static let level: Int32 = 283

  let descriptor: Descriptor
  private let packets: Mapping
  private var received: Ring

  /// - Parameter frames: how many packets there is memory for, a power of two.
  init(frames: Int) throws(SystemError) {
    let made = try Descriptor("socket", "AF_XDP") {
      socket(Self.family, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    let memory = try Mapping(
      "packet memory", size: frames * Self.frameSize, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE)
    received = try Self.setUp(made.raw, memory.start, memory.size, frames)
    descriptor = made
    packets = memory
  }

  private static func setUp(
    _ socket: Int32, _ memory: UnsafeMutableRawPointer, _ size: Int, _ frames: Int
  ) throws(SystemError) -> Ring {
    var region = xdp_umem_reg()
    region.addr = UInt64(UInt(bitPattern: memory))
    region.len = UInt64(size)
    region.chunk_size = UInt32(frameSize)
    // Up to `headroom`: kernels before 5.4 know no more of the structure, later ones take the short one.
    let known =
      MemoryLayout.offset(of: \xdp_umem_reg.headroom).map { $0 + 4 } ?? MemoryLayout<xdp_umem_reg>.size
    try system("setsockopt", "XDP_UMEM_REG of \(size >> 20) MiB") {
      setsockopt(socket, level, XDP_UMEM_REG, &region, socklen_t(known))
    }
    for option in [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING] {
      var entries = Int32(frames)
      try system("setsockopt", "AF_XDP ring") {
        setsockopt(socket, level, option, &entries, socklen_t(MemoryLayout<Int32>.size))
      }
    }
    var offsets = xdp_mmap_offsets()
    var length = socklen_t(MemoryLayout<xdp_mmap_offsets>.size)
    try system("getsockopt", "XDP_MMAP_OFFSETS") {
      getsockopt(socket, level, XDP_MMAP_OFFSETS, &offsets, &length)
    }
    var fill = try Ring(
      socket, offsets.fr, entries: frames, entrySize: 8, at: Int(XDP_UMEM_PGOFF_FILL_RING))
    fill.offer((0..<frames).map { UInt64($0 * frameSize) })
    return try Ring(
      socket, offsets.rx, entries: frames, entrySize: MemoryLayout<xdp_desc>.size,
      at: Int(XDP_PGOFF_RX_RING))
  }

  /// Takes over one queue of an interface.
  ///
  /// - Parameter flags: `XDP_COPY` or `XDP_ZEROCOPY`.
  borrowing func bind(to interface: Interface, queue: UInt32, flags: Int32) throws(SystemError) {
    var address = sockaddr_xdp()
    address.sxdp_family = UInt16(Self.family)
    address.sxdp_flags = UInt16(flags)
    address.sxdp_ifindex = interface.index
    address.sxdp_queue_id = queue
    try system("bind", "AF_XDP") {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          Glibc.bind(descriptor.raw, $0, socklen_t(MemoryLayout<sockaddr_xdp>.size))
        }
      }
    }
  }

  /// The next packet, from its Ethernet header on; nil where none comes within so many milliseconds.
  mutating func receive(within milliseconds: Int32) throws(SystemError) -> [UInt8]? {
    var ready = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    _ = try system("poll", "AF_XDP") { poll(&ready, 1, milliseconds) }
    guard let place = received.take() else { return nil }
    let descriptor = place.loadUnaligned(as: xdp_desc.self)
    // The kernel wrote it; a frame that were not in our memory would be its fault, and is not read.
    guard Int(descriptor.addr) + Int(descriptor.len) <= packets.size else { return nil }
    return Array(
      UnsafeRawBufferPointer(start: packets.start + Int(descriptor.addr), count: Int(descriptor.len)))
  }
}

/// A ring shared with the kernel: one side writes entries and moves `producer`, the other moves `consumer`.
private struct Ring: ~Copyable {
  private let mapping: Mapping
  private let offsets: xdp_ring_offset
  private let entries: Int
  private let entrySize: Int

  init(
    _ socket: Int32, _ offsets: xdp_ring_offset, entries: Int, entrySize: Int, at place: Int
  ) throws(SystemError) {
    mapping = try Mapping(
      "AF_XDP ring", size: Int(offsets.desc) + entries * entrySize, flags: MAP_SHARED | MAP_POPULATE, socket,
      at: place)
    self.offsets = offsets
    self.entries = entries
    self.entrySize = entrySize
  }

  private func word(_ offset: UInt64) -> UnsafeMutablePointer<UInt32> {
    (mapping.start + Int(offset)).assumingMemoryBound(to: UInt32.self)
  }

  private func entry(_ number: UInt32) -> UnsafeMutableRawPointer {
    // The counters run on and wrap; the number of entries is a power of two.
    mapping.start + Int(offsets.desc) + (Int(number) & (entries - 1)) * entrySize
  }

  /// Gives addresses to the kernel; there is room for as many as there are entries.
  mutating func offer(_ addresses: [UInt64]) {
    let producer = word(offsets.producer)
    for (place, address) in addresses.enumerated() {
      entry(producer.pointee &+ UInt32(place)).storeBytes(of: address, as: UInt64.self)
    }
    // The kernel must not see the counter before the entries.
    atomicMemoryFence(ordering: .releasing)
    producer.pointee &+= UInt32(addresses.count)
  }

  /// The next entry that the kernel has written; nil where there is none. It is good until the next call.
  mutating func take() -> UnsafeRawPointer? {
    let consumer = word(offsets.consumer)
    guard word(offsets.producer).pointee != consumer.pointee else { return nil }
    atomicMemoryFence(ordering: .acquiring)
    defer { consumer.pointee &+= 1 }
    return UnsafeRawPointer(entry(consumer.pointee))
  }
}
