internal import CLinux
internal import Glibc

/// What the kernel tells network namespaces apart by, for BPF programs too.
public enum NetworkNamespaceCookie {
  /// SO_NETNS_COOKIE (asm-generic/socket.h), which the headers of Debian 12 have and those before 5.14 lack.
  private static let option: Int32 = 71

  /// This process's; nil before Linux 5.14.
  public static func own() -> UInt64? {
    let made = try? Descriptor("socket", "AF_INET") {
      socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    guard let made else { return nil }
    var cookie: UInt64 = 0
    var size = socklen_t(MemoryLayout<UInt64>.size)
    guard getsockopt(made.raw, SOL_SOCKET, option, &cookie, &size) == 0 else { return nil }
    return cookie
  }
}
