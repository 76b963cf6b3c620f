import CLinux
import Flow
import Glibc

/// Where a datagram goes.
struct SocketAddress: Hashable, Sendable {
  let address: Address
  /// Host order.
  let port: UInt16
  /// The index of the interface that a link-local address is on; 0 for all others.
  var zone: UInt32 = 0

  var family: Int32 { address.isIPv4 ? AF_INET : AF_INET6 }

  /// Writes a `sockaddr_in` or a `sockaddr_in6`, which is the larger of the two.
  ///
  /// - Returns: How many bytes of it count.
  func write(to room: UnsafeMutablePointer<sockaddr_in6>) -> socklen_t {
    if let ipv4 = address.ipv4 {
      let name = sockaddr_in(
        sin_family: sa_family_t(AF_INET), sin_port: port.bigEndian, sin_addr: in_addr(s_addr: ipv4.bigEndian),
        sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
      UnsafeMutableRawPointer(room).storeBytes(of: name, as: sockaddr_in.self)
      return socklen_t(MemoryLayout<sockaddr_in>.size)
    }
    var name = sockaddr_in6()
    name.sin6_family = sa_family_t(AF_INET6)
    name.sin6_port = port.bigEndian
    name.sin6_scope_id = zone
    withUnsafeMutableBytes(of: &name.sin6_addr) { bytes in
      bytes.storeBytes(of: address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
      bytes.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    room.pointee = name
    return socklen_t(MemoryLayout<sockaddr_in6>.size)
  }

  /// Calls the body with the C form.
  func withName<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var name = sockaddr_in6()
    let length = write(to: &name)
    return withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
  }

  /// - Returns: nil for a family other than IPv4 and IPv6.
  init?(_ name: UnsafeRawPointer) {
    switch Int32(name.loadUnaligned(as: sa_family_t.self)) {
    case AF_INET:
      let name = name.loadUnaligned(as: sockaddr_in.self)
      self.init(
        address: Address(ipv4: UInt32(bigEndian: name.sin_addr.s_addr)),
        port: UInt16(bigEndian: name.sin_port))
    case AF_INET6:
      let name = name.loadUnaligned(as: sockaddr_in6.self)
      let (high, low) = withUnsafeBytes(of: name.sin6_addr) { bytes in
        (bytes.loadUnaligned(as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      }
      self.init(
        address: Address(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low)),
        port: UInt16(bigEndian: name.sin6_port), zone: name.sin6_scope_id)
    default: return nil
    }
  }

  /// Whether what came from `sender` came from whoever listens here. Programs send from ports of their own, so the
  /// address tells; on loopback, which all programs of a host share, only the port can.
  func isHome(of sender: Endpoint) -> Bool {
    address == sender.address && (!address.isLoopback || port == sender.port)
  }

  init(address: Address, port: UInt16, zone: UInt32 = 0) {
    self.address = address
    self.port = port
    self.zone = zone
  }
}

extension SocketAddress: CustomStringConvertible {
  var description: String { Endpoint(address, port).description }
}
