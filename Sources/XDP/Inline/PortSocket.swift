internal import CLinux
internal import Glibc
internal import Linux

/// A packet socket on one device. Where it has headers, it carries segmentation and partial checksums along (packet(7),
/// PACKET_VNET_HDR).
final class PortSocket: Sendable {
  private let owner: Descriptor
  var descriptor: Int32 { owner.raw }
  // SO_ATTACH_BPF of <asm-generic/socket.h>.
  private static let attachProgram: Int32 = 50

  /// One that sees what is sent out by a device, as far as a program lets it.
  ///
  /// - Parameters:
  ///   - filter: the program's descriptor.
  ///   - memory: bytes of packets that may wait, with the kernel's own overhead.
  ///   - hasHeaders: false for a ring of `ring`'s form instead.
  init(
    seeing name: String, _ index: UInt32, filter: Int32, memory: Int32, hasHeaders: Bool
  ) throws(SystemError) {
    owner = try Self.open(name, index, protocol: UInt16(ETH_P_ALL)) { socket throws(SystemError) in
      var program = filter
      try Self.set(socket, SOL_SOCKET, Self.attachProgram, &program, "SO_ATTACH_BPF")
      if hasHeaders {
        try Self.carryHeaders(socket)
        var memory = memory
        try Self.set(socket, SOL_SOCKET, SO_RCVBUFFORCE, &memory, "SO_RCVBUFFORCE")
      } else {
        var version = Int32(TPACKET_V3.rawValue)
        try Self.set(socket, SOL_PACKET, PACKET_VERSION, &version, "PACKET_VERSION")
        var ring = Self.ring
        try Self.set(socket, SOL_PACKET, PACKET_RX_RING, &ring, "PACKET_RX_RING")
      }
    }
  }

  /// 32 MiB in blocks, each handed over when it is full or a millisecond old.
  static let ring = tpacket_req3(
    tp_block_size: 1 << 19, tp_block_nr: 64, tp_frame_size: 1 << 11, tp_frame_nr: 64 << 8,
    tp_retire_blk_tov: 1, tp_sizeof_priv: 0, tp_feature_req_word: 0)

  /// Whether this kernel has packet sockets that carry segmentation and partial checksums along.
  static var knowsHeaders: Bool {
    get throws(SystemError) {
      let made = try Descriptor("socket", "AF_PACKET") {
        socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      }
      do throws(SystemError) {
        try carryHeaders(made.raw)
        return true
      } catch {
        guard error.code == ENOPROTOOPT || error.code == EINVAL else { throw error }
        return false
      }
    }
  }

  private static func carryHeaders(_ socket: Int32) throws(SystemError) {
    var on: Int32 = 1
    try set(socket, SOL_PACKET, PACKET_VNET_HDR, &on, "PACKET_VNET_HDR")
  }

  /// One that only sends.
  ///
  /// - Parameter patience: how long a full queue of the device is waited for, microseconds.
  init(
    sendingBy name: String, _ index: UInt32, memory: Int32, patience: Int, hasHeaders: Bool
  ) throws(SystemError) {
    // Without a protocol it receives nothing.
    owner = try Self.open(name, index, protocol: 0) { socket throws(SystemError) in
      if hasHeaders { try Self.carryHeaders(socket) }
      var memory = memory
      try Self.set(socket, SOL_SOCKET, SO_SNDBUFFORCE, &memory, "SO_SNDBUFFORCE")
      var time = timeval(tv_sec: 0, tv_usec: patience)
      try Self.set(socket, SOL_SOCKET, SO_SNDTIMEO, &time, "SO_SNDTIMEO")
    }
  }

  private static func open(
    _ name: String, _ index: UInt32, protocol number: UInt16,
    _ prepare: (Int32) throws(SystemError) -> Void
  ) throws(SystemError) -> Descriptor {
    let made = try Descriptor("socket", "AF_PACKET") {
      socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    try prepare(made.raw)
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = number.bigEndian
    address.sll_ifindex = Int32(index)
    try system("bind", name) {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(made.raw, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
        }
      }
    }
    return made
  }

  private static func set<T: BitwiseCopyable>(
    _ socket: Int32, _ level: Int32, _ option: Int32, _ value: inout T, _ name: String
  ) throws(SystemError) {
    try system("setsockopt", name) {
      setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<T>.size))
    }
  }

  /// Sends messages in their order; what the device does not take is counted.
  func send(_ messages: UnsafeMutablePointer<clinux_mmsghdr>, _ count: Int, _ counters: InlineCounters) {
    var place = 0
    var sent = 0
    var flags: Int32 = 0
    while place < count {
      let done = clinux_sendmmsg(descriptor, messages + place, UInt32(count - place), flags)
      if done > 0 {
        place += Int(done)
        sent += Int(done)
      } else if errno != EINTR {
        // The device is down, its queue full (EAGAIN, ENOBUFS), or the frame longer than its MTU (EMSGSIZE). A queue that
        // stays full is waited for once: the thread has its lease to renew.
        if errno == EAGAIN { flags = Int32(MSG_DONTWAIT) }
        place += 1
      }
    }
    InlineCounters.add(sent, to: counters.sent)
    InlineCounters.add(count - sent, to: counters.unsent)
  }

  /// Packets that found no room since the last call.
  func takeDrops() -> Int {
    var statistics = tpacket_stats()
    var size = socklen_t(MemoryLayout<tpacket_stats>.size)
    guard getsockopt(owner.raw, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0 else { return 0 }
    return Int(statistics.tp_drops)
  }
}
