internal import CLinux
internal import Flow
internal import Glibc

/// Asking the kernel about sockets (sock_diag(7)).
public enum SocketDiagnostics {
  /// Asks for the listening TCP sockets.
  public static func finding() -> Finding {
    .attempt(need: need) { () throws(SystemError) in
      // Few, however busy the host.
      try SocketDump().forEach(.tcp, in: .listening) { _ in }
      return ""
    }
  }

  private static func need(_ code: Int32) -> String {
    "a kernel with INET_DIAG (modules inet_diag, tcp_diag)"
  }
}

/// Packet sockets that carry segmentation and checksum offloads along (packet(7)).
public enum PacketSocket {
  /// Makes one that is bound to nothing and receives nothing.
  public static func finding() -> Finding {
    .attempt(need: need) { () throws(SystemError) in
      let made = try Descriptor("socket", "AF_PACKET") {
        socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      }
      var on: Int32 = 1
      try system("setsockopt", "PACKET_VNET_HDR") {
        setsockopt(made.raw, SOL_PACKET, PACKET_VNET_HDR, &on, socklen_t(MemoryLayout<Int32>.size))
      }
      return ""
    }
  }

  private static func need(_ code: Int32) -> String {
    code == EPERM ? "CAP_NET_RAW" : "a kernel with CONFIG_PACKET"
  }
}
