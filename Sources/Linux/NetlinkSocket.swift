internal import CLinux
internal import Glibc

/// A netlink socket (netlink(7)): requests that dump something, and notifications of groups.
public final class NetlinkSocket: Sendable {
  private let owner: Descriptor
  /// Messages are at most a page or 32 KiB, whichever the kernel chooses for a dump.
  private static let bufferSize = 1 << 16

  /// - Parameters:
  ///   - family: `NETLINK_ROUTE` and the like.
  ///   - groups: the bits of the groups to listen to, as `RTMGRP_LINK`.
  public init(family: Int32, groups: UInt32 = 0) throws(SystemError) {
    let made = try Descriptor("socket", "AF_NETLINK") {
      socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), family)
    }
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    address.nl_groups = groups
    try system("bind", "AF_NETLINK") {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(made.raw, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
        }
      }
    }
    owner = made
  }

  /// Readable while notifications wait.
  public var descriptor: Int32 { owner.raw }

  /// Asks for a dump and hands out its messages: type and payload.
  ///
  /// A dump that something changed meanwhile begins again, so `body` may see an object twice.
  public func dump<Request>(
    type: Int32, _ request: Request, _ body: (UInt16, UnsafeRawBufferPointer) -> Void
  ) throws(SystemError) {
    repeat {
      try send(type: UInt16(type), flags: UInt16(NLM_F_REQUEST | NLM_F_DUMP), request)
    } while try receiveDump(body) == .interrupted
  }

  /// Hands out the notifications that wait, without waiting for more: type and payload.
  ///
  /// - Returns: false where the kernel had to drop some: look at everything anew.
  public func notifications(_ body: (UInt16, UnsafeRawBufferPointer) -> Void) throws(SystemError) -> Bool {
    var complete = true
    while true {
      do throws(SystemError) {
        _ = try receive(flags: Int32(MSG_DONTWAIT)) { header, payload -> DumpEnd? in
          body(header.nlmsg_type, payload)
          return nil
        }
      } catch {
        switch error.code {
        case EAGAIN: return complete
        case ENOBUFS: complete = false
        default: throw error
        }
      }
    }
  }

  /// Asks for one thing and hands out the answer: type and payload.
  ///
  /// - Throws: what the kernel answered instead.
  public func request<Request>(
    type: Int32, _ request: Request, _ body: (UInt16, UnsafeRawBufferPointer) -> Void
  ) throws(SystemError) {
    try send(type: UInt16(type), flags: UInt16(NLM_F_REQUEST), request)
    _ = try receive(flags: 0) { header, payload throws(SystemError) -> DumpEnd? in
      guard Int32(header.nlmsg_type) == NLMSG_ERROR else {
        body(header.nlmsg_type, payload)
        return nil
      }
      let code = payload.count >= 4 ? payload.loadUnaligned(as: Int32.self) : 0
      if code != 0 { throw SystemError("netlink request", code: -code) }
      return nil
    }
  }

  /// Gives notifications more room than the host's default. Needs CAP_NET_ADMIN to be had in full.
  ///
  /// - Parameter size: bytes; the kernel doubles it for its own needs.
  public func setReceiveBuffer(_ size: Int32) throws(SystemError) {
    var size = size
    let length = socklen_t(MemoryLayout<Int32>.size)
    guard setsockopt(owner.raw, SOL_SOCKET, SO_RCVBUFFORCE, &size, length) != 0 else { return }
    try system("setsockopt", "SO_RCVBUF") { setsockopt(owner.raw, SOL_SOCKET, SO_RCVBUF, &size, length) }
  }

  private enum DumpEnd { case done, interrupted }

  private func receiveDump(_ body: (UInt16, UnsafeRawBufferPointer) -> Void) throws(SystemError) -> DumpEnd {
    var interrupted = false
    while true {
      let end = try receive(flags: 0) { header, payload throws(SystemError) -> DumpEnd? in
        if header.nlmsg_flags & UInt16(NLM_F_DUMP_INTR) != 0 { interrupted = true }
        switch Int32(header.nlmsg_type) {
        case NLMSG_DONE:
          // A dump that failed midway says so here.
          let code = payload.count >= 4 ? payload.loadUnaligned(as: Int32.self) : 0
          if code < 0 { throw SystemError("netlink dump", code: -code) }
          return .done
        case NLMSG_ERROR:
          let code = payload.count >= 4 ? payload.loadUnaligned(as: Int32.self) : 0
          if code != 0 { throw SystemError("netlink dump", code: -code) }
          return .done
        default:
          body(header.nlmsg_type, payload)
          return nil
        }
      }
      if end != nil { return interrupted ? .interrupted : .done }
    }
  }

  private func send<Request>(type: UInt16, flags: UInt16, _ request: Request) throws(SystemError) {
    var message = [UInt8](repeating: 0, count: MemoryLayout<nlmsghdr>.size + MemoryLayout<Request>.size)
    let length = UInt32(message.count)
    message.withUnsafeMutableBytes {
      $0.storeBytes(
        of: nlmsghdr(nlmsg_len: length, nlmsg_type: type, nlmsg_flags: flags, nlmsg_seq: 1, nlmsg_pid: 0),
        as: nlmsghdr.self)
      $0.storeBytes(of: request, toByteOffset: MemoryLayout<nlmsghdr>.size, as: Request.self)
    }
    try system("send", "AF_NETLINK") { Glibc.send(owner.raw, message, message.count, 0) }
  }

  /// Reads one datagram and walks its messages until `body` returns something.
  private func receive<T>(
    flags: Int32, _ body: (nlmsghdr, UnsafeRawBufferPointer) throws(SystemError) -> T?
  ) throws(SystemError) -> T? {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferSize, alignment: 8)
    defer { buffer.deallocate() }
    let count = try system("recv", "AF_NETLINK") { recv(owner.raw, buffer.baseAddress, buffer.count, flags) }
    var offset = 0
    while offset + MemoryLayout<nlmsghdr>.size <= count {
      let header = buffer.loadUnaligned(fromByteOffset: offset, as: nlmsghdr.self)
      let length = Int(header.nlmsg_len)
      guard length >= MemoryLayout<nlmsghdr>.size, offset + length <= count else { break }
      let payload = UnsafeRawBufferPointer(
        rebasing: buffer[offset + MemoryLayout<nlmsghdr>.size..<offset + length])
      if let result = try body(header, payload) { return result }
      // NLMSG_ALIGNTO is 4.
      offset += (length + 3) & ~3
    }
    return nil
  }
}

/// The attributes behind a message's fixed part: a type and a value each (rtnetlink(7)).
struct NetlinkAttributes {
  private let bytes: UnsafeRawBufferPointer

  /// - Parameter offset: the size of the fixed part.
  init(_ payload: UnsafeRawBufferPointer, after offset: Int) {
    bytes = UnsafeRawBufferPointer(rebasing: payload[min((offset + 3) & ~3, payload.count)...])
  }

  /// The value of an attribute, nil where the message has none of that type.
  subscript(_ type: Int) -> UnsafeRawBufferPointer? {
    var found: UnsafeRawBufferPointer?
    walk { if $0 == type, found == nil { found = $1 } }
    return found
  }

  /// Calls the body with each attribute's type and value.
  @inline(__always)
  func walk(_ body: (Int, UnsafeRawBufferPointer) -> Void) {
    let header = MemoryLayout<rtattr>.size
    var offset = 0
    while offset + header <= bytes.count {
      let attribute = bytes.loadUnaligned(fromByteOffset: offset, as: rtattr.self)
      let length = Int(attribute.rta_len)
      guard length >= header, offset + length <= bytes.count else { return }
      // The two highest bits are flags: NLA_F_NESTED and NLA_F_NET_BYTEORDER.
      body(
        Int(attribute.rta_type & 0x3fff),
        UnsafeRawBufferPointer(rebasing: bytes[offset + header..<offset + length]))
      offset += (length + 3) & ~3
    }
  }
}
