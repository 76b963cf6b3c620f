internal import CLinux
internal import CMNL
internal import Glibc
internal import Linux

/// Requests to the kernel's routing netlink, as far as the probe needs them.
enum Rtnetlink {
  /// A request while it is written.
  struct Request {
    fileprivate let header: UnsafeMutablePointer<nlmsghdr>

    /// The fixed part, which comes first, or opens a nest.
    func put<T: BitwiseCopyable>(_ fixed: T) {
      let size = MemoryLayout<T>.size
      guard let room = mnl_nlmsg_put_extra_header(header, size) else { return }
      withUnsafeBytes(of: fixed) { fixed in
        if let base = fixed.baseAddress { room.copyMemory(from: base, byteCount: size) }
      }
    }

    func put(_ type: UInt16, _ text: String) { mnl_attr_put_strz(header, type, text) }
    func put(_ type: UInt16, _ bytes: [UInt8]) { mnl_attr_put(header, type, bytes.count, bytes) }

    func nest(_ type: UInt16, _ body: () -> Void) {
      let start = mnl_attr_nest_start(header, type)
      body()
      mnl_attr_nest_end(header, start)
    }
  }

  /// Sends one request and waits for the kernel's answer to it.
  ///
  /// - Parameter command: what does the same by hand, for the error.
  static func run(
    _ command: String, _ type: Int, _ flags: Int32, _ fill: (Request) -> Void
  ) throws(SystemError) {
    let socket = try Descriptor("socket", "NETLINK_ROUTE") {
      Glibc.socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), NETLINK_ROUTE)
    }
    try withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { room throws(SystemError) in
      guard let header = mnl_nlmsg_put_header(room.baseAddress) else { return }
      header.pointee.nlmsg_type = UInt16(type)
      header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_ACK | flags)
      fill(Request(header: header))
      let size = Int(header.pointee.nlmsg_len)
      try system("send", command) { send(socket.raw, header, size, 0) }
      let count = try system("recv", command) { recv(socket.raw, room.baseAddress, room.count, 0) }
      var code: Int32 = EPROTO
      Message.forEach(in: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<count])) {
        if let answer = $0.errorCode { code = answer }
      }
      guard code == 0 else { throw SystemError(command, code: code) }
    }
  }
}
