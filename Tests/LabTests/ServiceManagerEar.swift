import CLinux
import Glibc
import Lab
import Linux

/// systemd's end.
final class ServiceManagerEar: Sendable {
  let name: String
  private let socket: Descriptor

  /// - Parameter name: as NOTIFY_SOCKET has it.
  init(_ name: String) throws {
    self.name = name
    let opened = try Descriptor("socket") {
      Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var bytes = Array(name.utf8)
    if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let size = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    try system("bind", name) {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(opened.raw, $0, size) }
      }
    }
    socket = opened
  }

  /// The next message; nil where none comes in so many seconds.
  func next(seconds: Int32 = 20) -> String? {
    var ready = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
    guard poll(&ready, 1, seconds * 1000) > 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = recv(socket.raw, &bytes, bytes.count, 0)
    return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// The next message that is no sign of life.
  func nextWord() -> String? {
    while let message = next() { if message != "WATCHDOG=1" { return message } }
    return nil
  }
}
