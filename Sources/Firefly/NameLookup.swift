import CLinux
import Glibc
import Linux

/// A name that has no address, or not now.
struct LookupFailure: Error, Equatable {
  let reason: String
}

/// Turns a collector's host into addresses, best first (RFC 6724, as the host is configured).
enum NameLookup {
  /// Asks the host's resolver. Takes as long as that takes: half a minute where no name server answers. Text
  /// of an address is read at once.
  static func addresses(of collector: Collector) throws(LookupFailure) -> [SocketAddress] {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    hints.ai_flags = collector.isLiteral ? AI_NUMERICHOST : 0
    var list: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(collector.host, nil, &hints, &list)
    guard code == 0 else {
      if code == EAI_SYSTEM { throw LookupFailure(reason: "\(SystemError("getaddrinfo"))") }
      throw LookupFailure(reason: String(cString: gai_strerror(code)))
    }
    defer { freeaddrinfo(list) }
    var addresses: [SocketAddress] = []
    var next = list
    while let entry = next {
      if let name = entry.pointee.ai_addr, let found = SocketAddress(name) {
        addresses.append(SocketAddress(address: found.address, port: collector.port, zone: found.zone))
      }
      next = entry.pointee.ai_next
    }
    guard !addresses.isEmpty else { throw LookupFailure(reason: "the name has no IPv4 or IPv6 address") }
    return addresses
  }
}
