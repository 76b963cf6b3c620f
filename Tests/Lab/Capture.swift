import CLinux
import Flow
import Glibc
public import Linux

/// A packet socket that sees every frame an interface receives.
public final class Capture: Sendable {
  private let descriptor: Descriptor

  public init(_ interface: String, in namespace: NetworkNamespace) throws(SystemError) {
    descriptor = try namespace.run { () throws(SystemError) -> Descriptor in
      let everything = UInt16(ETH_P_ALL).bigEndian
      let made = try Descriptor("socket", "AF_PACKET") {
        socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), Int32(everything))
      }
      var size: Int32 = 64 << 20
      try system("setsockopt", "SO_RCVBUFFORCE") {
        setsockopt(made.raw, SOL_SOCKET, SO_RCVBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
      }
      var address = sockaddr_ll()
      address.sll_family = UInt16(AF_PACKET)
      address.sll_protocol = everything
      address.sll_ifindex = Int32(if_nametoindex(interface))
      try system("bind", interface) {
        withUnsafePointer(to: &address) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(made.raw, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
          }
        }
      }
      return made
    }
  }

  /// The frames that have arrived; waits for the first, longer, and returns once none has come for `quiet`
  /// milliseconds. Frames that the interface itself sent are left out.
  public func frames(quiet: Int32 = 100) throws(SystemError) -> [Frame] {
    var frames: [Frame] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 19)
    while true {
      var ready = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
      // The first may be late where the machine is busy: loading a large BPF program holds a processor for 100 ms.
      let patience = frames.isEmpty ? quiet * 5 : quiet
      if try system("poll", "", { poll(&ready, 1, patience) }) == 0 { return frames }
      var from = sockaddr_ll()
      var size = socklen_t(MemoryLayout<sockaddr_ll>.size)
      let count = try system("recvfrom", "AF_PACKET") {
        buffer.withUnsafeMutableBytes { buffer in
          withUnsafeMutablePointer(to: &from) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
              recvfrom(descriptor.raw, buffer.baseAddress, buffer.count, 0, $0, &size)
            }
          }
        }
      }
      if from.sll_pkttype == UInt8(PACKET_OUTGOING) { continue }
      if let frame = Frame(Array(buffer[..<count])) { frames.append(frame) }
    }
  }

  /// Frames that the socket's buffer had no room for, since the last call.
  public func dropped() throws(SystemError) -> UInt32 {
    var statistics = tpacket_stats()
    var size = socklen_t(MemoryLayout<tpacket_stats>.size)
    try system("getsockopt", "PACKET_STATISTICS") {
      getsockopt(descriptor.raw, SOL_PACKET, PACKET_STATISTICS, &statistics, &size)
    }
    return statistics.tp_drops
  }
}
