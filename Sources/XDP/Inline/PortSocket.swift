internal import CLinux
internal import Glibc
internal import Linux

/// A packet socket on one device that carries segmentation and partial checksums along (packet(7), PACKET_VNET_HDR).
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
  init(seeing name: String, _ index: UInt32, filter: Int32, memory: Int32) throws(SystemError) {
    owner = try Self.open(name, index, protocol: UInt16(ETH_P_ALL)) { socket throws(SystemError) in
      var program = filter
      try Self.set(socket, SOL_SOCKET, Self.attachProgram, &program, "SO_ATTACH_BPF")
      var memory = memory
      try Self.set(socket, SOL_SOCKET, SO_RCVBUFFORCE, &memory, "SO_RCVBUFFORCE")
    }
  }

  /// One that only sends.
  ///
  /// - Parameter patience: how long a full queue of the device is waited for, microseconds.
  init(sendingBy name: String, _ index: UInt32, memory: Int32, patience: Int) throws(SystemError) {
    // Without a protocol it receives nothing.
    owner = try Self.open(name, index, protocol: 0) { socket throws(SystemError) in
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
    var on: Int32 = 1
    try set(made.raw, SOL_PACKET, PACKET_VNET_HDR, &on, "PACKET_VNET_HDR")
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

  /// Packets that found no room since the last call.
  func takeDrops() -> Int {
    var statistics = tpacket_stats()
    var size = socklen_t(MemoryLayout<tpacket_stats>.size)
    guard getsockopt(owner.raw, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0 else { return 0 }
    return Int(statistics.tp_drops)
  }
}
