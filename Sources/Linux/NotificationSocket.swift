internal import CLinux
internal import Glibc

/// The socket by which a service tells its manager how it is (sd_notify(3)): each datagram is lines of NAME=VALUE.
public struct NotificationSocket: ~Copyable, Sendable {
  private let owner: Descriptor
  private let name: String
  /// sun_path as the kernel takes it: an abstract name begins with a zero byte (unix(7)).
  private let path: [UInt8]

  /// - Parameter name: as $NOTIFY_SOCKET has it, a path from / on, or an abstract name behind an @.
  /// - Throws: EAFNOSUPPORT for another kind of address, ENAMETOOLONG for one that is too long.
  public init(_ name: String) throws(SystemError) {
    var bytes = Array(name.utf8)
    guard let first = bytes.first, first == UInt8(ascii: "/") || first == UInt8(ascii: "@") else {
      throw SystemError("use NOTIFY_SOCKET", name, code: EAFNOSUPPORT)
    }
    if first == UInt8(ascii: "@") { bytes[0] = 0 } else { bytes.append(0) }
    guard bytes.count <= MemoryLayout.size(ofValue: sockaddr_un().sun_path) else {
      throw SystemError("use NOTIFY_SOCKET", name, code: ENAMETOOLONG)
    }
    let opened = try Descriptor("socket", "AF_UNIX") {
      socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    owner = opened
    path = bytes
    self.name = name
  }

  /// Sends a datagram. Never waits.
  ///
  /// - Throws: EAGAIN where the manager does not come to reading.
  public borrowing func send(_ text: String) throws(SystemError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
    let size = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
    let bytes = Array(text.utf8)
    try system("tell the service manager at", name) {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          sendto(owner.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), $0, size)
        }
      }
    }
  }
}
