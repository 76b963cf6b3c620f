import CLinux
import Glibc
public import Linux

/// A tun interface `tun0`, whose packets come out here instead of on a wire.
public final class Tunnel: Sendable {
  private let descriptor: Descriptor

  public init(in namespace: NetworkNamespace) throws(SystemError) {
    descriptor = try namespace.run { () throws(SystemError) -> Descriptor in
      let made = try Descriptor("open", "/dev/net/tun") { open("/dev/net/tun", O_RDWR | O_CLOEXEC) }
      // struct ifreq: 16 bytes of name, then the flags IFF_TUN | IFF_NO_PI; TUNSETIFF of <linux/if_tun.h>.
      var request = [UInt8]("tun0".utf8) + [UInt8](repeating: 0, count: 36)
      request[16] = 0x01
      request[17] = 0x10
      try system("ioctl", "TUNSETIFF") { ioctl(made.raw, 0x4004_54ca, &request) }
      return made
    }
  }

  /// The first packet that leaves through the interface and is wanted; nil after a second without one.
  public func packet(where wanted: ([UInt8]) -> Bool) throws(SystemError) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      var ready = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
      if try system("poll", "", { poll(&ready, 1, 1000) }) == 0 { return nil }
      let count = try system("read", "tun") { read(descriptor.raw, &buffer, buffer.count) }
      if wanted(Array(buffer[..<count])) { return Array(buffer[..<count]) }
    }
  }
}
