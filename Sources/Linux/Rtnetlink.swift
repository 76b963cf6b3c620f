internal import CLinux
internal import Glibc

/// One request to the kernel's routing netlink that changes something (rtnetlink(7)).
struct Rtnetlink {
  private var bytes: [UInt8]

  /// Sends one request and waits for the kernel's answer to it.
  ///
  /// - Parameter command: what does the same by hand, for the error.
  static func run(
    _ command: String, _ type: Int, _ flags: Int32, _ fill: (inout Rtnetlink) -> Void
  ) throws(SystemError) {
    var request = Rtnetlink(type: UInt16(type), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK | flags))
    fill(&request)
    try request.send(command)
  }

  /// Asks for one object and returns the kernel's message about it, from behind netlink's own header.
  static func ask(
    _ what: String, _ type: Int, _ fill: (inout Rtnetlink) -> Void
  ) throws(SystemError) -> [UInt8] {
    var request = Rtnetlink(type: UInt16(type), flags: UInt16(NLM_F_REQUEST))
    fill(&request)
    let answer = try request.exchange(what)
    let header = answer.withUnsafeBytes { $0.loadUnaligned(as: nlmsghdr.self) }
    let payload = Array(answer.dropFirst(MemoryLayout<nlmsghdr>.size))
    guard Int32(header.nlmsg_type) != NLMSG_ERROR else {
      throw SystemError(what, code: -payload.withUnsafeBytes { $0.loadUnaligned(as: Int32.self) })
    }
    return payload
  }

  private init(type: UInt16, flags: UInt16) {
    bytes = []
    put(nlmsghdr(nlmsg_len: 0, nlmsg_type: type, nlmsg_flags: flags, nlmsg_seq: 1, nlmsg_pid: 0))
  }

  /// The fixed part, which comes first, or opens a nest.
  mutating func put<T: BitwiseCopyable>(_ fixed: T) {
    withUnsafeBytes(of: fixed) { bytes += $0 }
    align()
  }

  mutating func put(_ type: Int, _ text: String) { put(type, Array(text.utf8) + [0]) }

  mutating func put(_ type: Int, _ value: [UInt8]) {
    nest(type) { $0.bytes += value }
  }

  /// An attribute that holds others.
  mutating func nest(_ type: Int, _ body: (inout Rtnetlink) -> Void) {
    let start = bytes.count
    put(rtattr(rta_len: 0, rta_type: UInt16(type)))
    body(&self)
    let length = UInt16(bytes.count - start)
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: length, toByteOffset: start, as: UInt16.self) }
    align()
  }

  /// Everything in netlink begins at a multiple of four (NLMSG_ALIGNTO).
  private mutating func align() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }

  private consuming func send(_ command: String) throws(SystemError) {
    // An NLMSG_ERROR: a header, then the errno as a negative number, 0 for success.
    let code = try exchange(command).withUnsafeBytes {
      $0.loadUnaligned(fromByteOffset: MemoryLayout<nlmsghdr>.size, as: Int32.self)
    }
    guard code == 0 else { throw SystemError(command, code: -code) }
  }

  /// Sends the request and returns the first message of the answer, which has four bytes at least.
  private consuming func exchange(_ command: String) throws(SystemError) -> [UInt8] {
    let size = UInt32(bytes.count)
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: size, as: UInt32.self) }
    let socket = try Descriptor("socket", "NETLINK_ROUTE") {
      Glibc.socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), NETLINK_ROUTE)
    }
    try system("send", command) { Glibc.send(socket.raw, bytes, bytes.count, 0) }
    // A link's description with counters and options is three pages at most.
    var answer = [UInt8](repeating: 0, count: 1 << 14)
    let count = try system("recv", command) { recv(socket.raw, &answer, answer.count, 0) }
    guard count >= MemoryLayout<nlmsghdr>.size + MemoryLayout<Int32>.size else {
      throw SystemError(command, code: EPROTO)
    }
    return Array(answer[..<count])
  }
}
