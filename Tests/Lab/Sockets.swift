import CLinux
public import Flow
import Glibc
public import Linux

/// A TCP or UDP socket made inside a namespace.
public final class LabSocket: Sendable {
  public let descriptor: Descriptor
  public let local: Endpoint

  init(owning descriptor: consuming Descriptor, local: Endpoint) {
    self.descriptor = descriptor
    self.local = local
  }

  /// Port 0 takes a free one.
  public init(
    _ transport: TransportProtocol, in namespace: NetworkNamespace, bound local: Endpoint
  ) throws(SystemError) {
    let made = try namespace.run { () throws(SystemError) -> Descriptor in
      let type = transport == .tcp ? SOCK_STREAM : SOCK_DGRAM
      let family = local.address.isIPv4 ? AF_INET : AF_INET6
      let made = try Descriptor("socket", transport.name) {
        socket(family, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      }
      var on: Int32 = 1
      setsockopt(made.raw, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
      try withSocketAddress(local) { address, size throws(SystemError) in
        _ = try system("bind", "\(local)") { bind(made.raw, address, size) }
      }
      return made
    }
    self.local = Endpoint(local.address, try localPort(of: made.raw))
    descriptor = made
  }

  public func connect(to remote: Endpoint) throws(SystemError) {
    try withSocketAddress(remote) { address, size throws(SystemError) in
      _ = try system("connect", "\(remote)") { Glibc.connect(descriptor.raw, address, size) }
    }
  }

  public func listen() throws(SystemError) {
    try system("listen") { Glibc.listen(descriptor.raw, 128) }
  }

  public func accept() throws(SystemError) -> LabSocket {
    let made = try Descriptor("accept") { Glibc.accept(descriptor.raw, nil, nil) }
    return LabSocket(owning: made, local: local)
  }

  /// Sends all of it; for UDP one datagram.
  public func send(_ bytes: [UInt8]) throws(SystemError) {
    var offset = 0
    repeat {
      offset += try system("send") {
        bytes.withUnsafeBytes { bytes in
          Glibc.send(
            descriptor.raw, bytes.baseAddress.map { $0 + offset }, bytes.count - offset,
            Int32(MSG_NOSIGNAL))
        }
      }
    } while offset < bytes.count
  }

  public func send(_ bytes: [UInt8], to remote: Endpoint) throws(SystemError) {
    try withSocketAddress(remote) { address, size throws(SystemError) in
      _ = try system("sendto", "\(remote)") {
        sendto(descriptor.raw, bytes, bytes.count, 0, address, size)
      }
    }
  }

  /// One datagram, or what a stream holds; nil where nothing comes within the time.
  public func receive(within milliseconds: Int32 = 1000) throws(SystemError) -> [UInt8]? {
    var ready = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    if try system("poll", "", { poll(&ready, 1, milliseconds) }) == 0 { return nil }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = try system("recv") { recv(descriptor.raw, &buffer, buffer.count, 0) }
    return Array(buffer[..<count])
  }

  /// The value of a socket option that is a C int.
  public func get(_ level: Int32, _ option: Int32) throws(SystemError) -> Int32 {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    try system("getsockopt", "\(level)/\(option)") {
      getsockopt(descriptor.raw, level, option, &value, &size)
    }
    return value
  }

  /// A socket option that is a C int.
  public func set(_ level: Int32, _ option: Int32, _ value: Int32) throws(SystemError) {
    var value = value
    try system("setsockopt", "\(level)/\(option)") {
      setsockopt(descriptor.raw, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
  }
}

private func localPort(of fd: Int32) throws(SystemError) -> UInt16 {
  var storage = sockaddr_in6()
  var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
  try system("getsockname") {
    withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fd, $0, &size) }
    }
  }
  // The port stands at the same place in both families' addresses.
  return UInt16(bigEndian: storage.sin6_port)
}

/// Calls the body with the C form of an address.
func withSocketAddress<E: Error>(
  _ endpoint: Endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(E) -> Void
) throws(E) {
  if let ipv4 = endpoint.address.ipv4 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = endpoint.port.bigEndian
    address.sin_addr.s_addr = ipv4.bigEndian
    try rebound(&address, body)
  } else {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = endpoint.port.bigEndian
    withUnsafeMutableBytes(of: &address.sin6_addr) {
      $0.storeBytes(of: endpoint.address.high.bigEndian, as: UInt64.self)
      $0.storeBytes(of: endpoint.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    try rebound(&address, body)
  }
}

private func rebound<T, E: Error>(
  _ address: inout T, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(E) -> Void
) throws(E) {
  try withUnsafePointer(to: &address) { pointer throws(E) in
    try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer throws(E) in
      try body(pointer, socklen_t(MemoryLayout<T>.size))
    }
  }
}
