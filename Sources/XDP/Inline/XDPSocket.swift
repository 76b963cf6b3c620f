internal import CXDP
internal import Glibc
internal import Linux

/// One queue of a device, for receiving or for sending, by libxdp's rings. The memory is shared by all sockets of an engine.
final class XDPSocket {
  /// The rings, at an address that stays: libxdp keeps it.
  struct Rings {
    var fill = xsk_ring_prod()
    var completion = xsk_ring_cons()
    var receive = xsk_ring_cons()
    var send = xsk_ring_prod()
  }
  let rings: UnsafeMutablePointer<Rings>
  private let raw: OpaquePointer
  /// Deleted after the socket: libxdp refuses the other order, and the first socket would stay bound.
  private let memory: Registration
  let descriptor: Int32
  /// The most entries of a ring.
  static let mostEntries = UInt32(2048)

  enum Direction { case receiving, sending }

  /// libxdp's handle of the memory.
  final class Registration {
    let raw: OpaquePointer
    init(_ raw: OpaquePointer) { self.raw = raw }
    deinit { xsk_umem__delete(raw) }
  }

  /// The kernel lets go of a queue some time after the socket that had it is closed: it is waited for so many times, so
  /// many microseconds.
  private static let (attempts, pause) = (100, UInt32(5000))

  /// - Parameters:
  ///   - memory: that packets lie in.
  ///   - rings: from the memory's own creation for the first socket of it, fresh ones for the others.
  ///   - entries: of the ring of packets, a power of two.
  ///   - flags: XDP_COPY or XDP_ZEROCOPY, which the first socket decides for all.
  init(
    _ device: String, queue: UInt32, _ direction: Direction, _ memory: Registration,
    _ rings: UnsafeMutablePointer<Rings>, entries: UInt32, flags: Int32
  ) throws(SystemError) {
    var config = xsk_socket_config()
    config.rx_size = entries
    config.tx_size = entries
    // The program is ours.
    config.libxdp_flags = UInt32(XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD)
    config.bind_flags = UInt16(flags) | UInt16(XDP_USE_NEED_WAKEUP)
    var socket: OpaquePointer?
    var status: Int32 = 0
    for attempt in 1...Self.attempts {
      status = xsk_socket__create_shared(
        &socket, device, queue, memory.raw, direction == .receiving ? ring(rings, \.receive) : nil,
        direction == .sending ? ring(rings, \.send) : nil, ring(rings, \.fill), ring(rings, \.completion),
        &config)
      guard status == -EBUSY, attempt < Self.attempts else { break }
      usleep(Self.pause)
    }
    guard status == 0, let socket else {
      rings.deallocate()
      throw SystemError("bind AF_XDP", "\(device), queue \(queue)", code: -status)
    }
    raw = socket
    self.memory = memory
    descriptor = xsk_socket__fd(socket)
    self.rings = rings
  }

  deinit {
    xsk_socket__delete(raw)
    rings.deallocate()
  }

  static func freshRings() -> UnsafeMutablePointer<Rings> {
    let rings = UnsafeMutablePointer<Rings>.allocate(capacity: 1)
    rings.initialize(to: Rings())
    return rings
  }

  /// Packets that found no room since the socket was made, for want of frames or in the ring.
  static func overflow(of socket: Int32) -> Int {
    var statistics = xdp_statistics()
    var size = socklen_t(MemoryLayout<xdp_statistics>.size)
    // SOL_XDP of <linux/socket.h>.
    guard getsockopt(socket, 283, XDP_STATISTICS, &statistics, &size) == 0 else { return 0 }
    return Int(statistics.rx_dropped + statistics.rx_ring_full)
  }
}

/// A pointer to one of the rings.
func ring<Ring>(
  _ rings: UnsafeMutablePointer<XDPSocket.Rings>, _ path: WritableKeyPath<XDPSocket.Rings, Ring>
) -> UnsafeMutablePointer<Ring>? {
  UnsafeMutablePointer(mutating: rings.pointer(to: path))
}
