import CLinux
import Glibc
import Linux

/// A non-blocking UDP socket to send by.
struct UDPSocket: ~Copyable, Sendable {
  private let descriptor: Descriptor

  /// The kernel's buffer for what was not yet sent, in bytes. It holds the bursts that the network card
  /// can't take at once.
  private static let bufferSize: Int32 = 4 << 20

  /// Takes over a non-blocking datagram socket.
  init(owning descriptor: consuming Descriptor) { self.descriptor = descriptor }

  /// A socket that can send to any address of the family.
  init(family: Int32) throws(SystemError) {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let descriptor = try Descriptor("socket") { socket(family, type, 0) }
    var size = Self.bufferSize
    let length = socklen_t(MemoryLayout<Int32>.size)
    // The forced size needs CAP_NET_ADMIN; the other is capped to net.core.wmem_max. Any size works.
    if setsockopt(descriptor.raw, SOL_SOCKET, SO_SNDBUFFORCE, &size, length) < 0 {
      _ = setsockopt(descriptor.raw, SOL_SOCKET, SO_SNDBUF, &size, length)
    }
    self.descriptor = descriptor
  }

  /// A socket that sends to one address and hears of its refusals.
  init(to address: SocketAddress) throws(SystemError) {
    let opened = try UDPSocket(family: address.family)
    let raw = opened.descriptor.raw
    try system("connect", address.description) { address.withName { connect(raw, $0, $1) } }
    self = opened
  }

  /// Sends messages in their order, starting at `next`, which then stands behind the last message that was
  /// sent or given up.
  ///
  /// - Returns: False where the kernel's buffer is full: the rest can be sent later.
  func send(
    _ messages: UnsafeMutablePointer<clinux_mmsghdr>, from next: inout Int, to end: Int, _ tally: inout Tally
  ) -> Bool {
    var failed = -1
    while next < end {
      let result = clinux_sendmmsg(descriptor.raw, messages + next, UInt32(end - next), 0)
      if result > 0 {
        next += Int(result)
        tally.sent += UInt64(result)
        continue
      }
      let code = errno
      switch code {
      case EINTR: continue
      case EAGAIN, ENOBUFS: return false
      default:
        if messages[next].msg_hdr.msg_controllen > 0 {
          // The source address may not be this host's, as with a router's or a container's flow: any will do.
          messages[next].msg_hdr.msg_controllen = 0
          continue
        }
        // The first error may be the answer to an earlier datagram (ICMP); the second is about this one.
        if failed == next {
          tally.dropped += 1
          next += 1
        } else {
          failed = next
          tally.errors += 1
          tally.lastError = code
        }
      }
    }
    return true
  }

  /// Sends one datagram.
  ///
  /// - Returns: False where the kernel's buffer is full: the datagram can be sent later.
  func send(_ datagram: Span<UInt8>, _ tally: inout Tally) -> Bool {
    datagram.withUnsafeBufferPointer { bytes in
      // The kernel only reads what it sends.
      var vector = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
      return withUnsafeMutablePointer(to: &vector) { vector in
        var message = clinux_mmsghdr()
        message.msg_hdr.msg_iov = vector
        message.msg_hdr.msg_iovlen = 1
        var next = 0
        return send(&message, from: &next, to: 1, &tally)
      }
    }
  }

  /// Waits until the kernel's buffer has room, but no longer than this.
  func waitForRoom(milliseconds: Int32) {
    var entry = pollfd(fd: descriptor.raw, events: Int16(POLLOUT), revents: 0)
    _ = poll(&entry, 1, milliseconds)
  }
}

/// What became of datagrams that were to be sent.
struct Tally {
  /// Taken by the kernel.
  var sent: UInt64 = 0
  /// Given up.
  var dropped: UInt64 = 0
  /// Datagrams on which the kernel answered with an error, be it about an earlier one.
  var errors: UInt64 = 0
  /// errno of the last of them.
  var lastError: Int32?

  static func += (left: inout Tally, right: Tally) {
    left.sent += right.sent
    left.dropped += right.dropped
    left.errors += right.errors
    left.lastError = right.lastError ?? left.lastError
  }
}
