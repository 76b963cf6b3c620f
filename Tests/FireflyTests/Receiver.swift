import Flow
import Glibc
import Linux

/// A UDP socket on loopback that fireflies are sent to.
final class Receiver {
  let port: UInt16
  private let descriptor: Descriptor

  /// - Parameter port: 0 for any.
  init(ipv4: Bool = true, port: UInt16 = 0) throws(SystemError) {
    let descriptor = try Descriptor("socket") {
      socket(ipv4 ? AF_INET : AF_INET6, Int32(SOCK_DGRAM.rawValue), 0)
    }
    let raw = descriptor.raw
    // Fits 20,000 small datagrams as the kernel counts them. Without CAP_NET_ADMIN, as much as is allowed.
    var size: Int32 = 64 << 20
    let length = socklen_t(MemoryLayout<Int32>.size)
    if setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &size, length) < 0 {
      _ = setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &size, length)
    }
    var name = sockaddr_in6()
    var nameLength: socklen_t
    if ipv4 {
      let ipv4Name = sockaddr_in(
        sin_family: sa_family_t(AF_INET), sin_port: port.bigEndian,
        sin_addr: in_addr(s_addr: UInt32(0x7f00_0001).bigEndian), sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
      withUnsafeMutableBytes(of: &name) { $0.storeBytes(of: ipv4Name, as: sockaddr_in.self) }
      nameLength = socklen_t(MemoryLayout<sockaddr_in>.size)
    } else {
      name.sin6_family = sa_family_t(AF_INET6)
      name.sin6_port = port.bigEndian
      name.sin6_addr = in6addr_loopback
      nameLength = socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
    try system("bind") {
      withUnsafeMutablePointer(to: &name) { name in
        name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
          bind(raw, name, nameLength) == 0 ? getsockname(raw, name, &nameLength) : -1
        }
      }
    }
    // The port stands at the same place in both forms.
    self.port = UInt16(bigEndian: name.sin6_port)
    self.descriptor = descriptor
  }

  /// One receiver per address family, both at the same port.
  static func pair() throws(SystemError) -> (ipv4: Receiver, ipv6: Receiver) {
    for _ in 0..<20 {
      let ipv4 = try Receiver()
      if let ipv6 = try? Receiver(ipv4: false, port: ipv4.port) { return (ipv4, ipv6) }
    }
    throw SystemError("bind", "pair", code: EADDRINUSE)
  }

  /// Keeps the port and refuses what is sent there, as if nobody listened: a socket with a peer takes
  /// datagrams from that peer alone.
  func refuse() throws(SystemError) {
    var peer = sockaddr_in(
      sin_family: sa_family_t(AF_INET), sin_port: UInt16(9).bigEndian,
      sin_addr: in_addr(s_addr: UInt32(0x7f00_0001).bigEndian), sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
    try system("connect") {
      withUnsafePointer(to: &peer) { peer in
        peer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(descriptor.raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
    }
  }

  /// In bytes, as the kernel counts them: several times the datagrams' own.
  var bufferSize: Int {
    var size: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor.raw, SOL_SOCKET, SO_RCVBUF, &size, &length)
    return Int(size)
  }

  /// The next datagram; nil where none comes in time.
  func receive(milliseconds: Int32 = 1000) -> String? {
    var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, milliseconds) == 1 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 2048)
    let count = recv(descriptor.raw, &bytes, bytes.count, 0)
    return String(validating: bytes.prefix(max(count, 0)), as: UTF8.self)
  }

  /// As many datagrams as come in time, `count` at most.
  func receive(count: Int) -> [String] {
    var datagrams: [String] = []
    while datagrams.count < count, let datagram = receive() { datagrams.append(datagram) }
    return datagrams
  }
}
