internal import CLinux
internal import Glibc

/// What an interface's driver says of itself (<linux/ethtool.h>). Asking changes nothing.
struct Ethtool: ~Copyable {
  private let socket: Descriptor

  init() throws(SystemError) {
    socket = try Descriptor("socket", "UDP") {
      Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
  }

  /// The driver's name; nil where it does not say.
  borrowing func driver(_ interface: String) -> String? {
    var info = ethtool_drvinfo()
    info.cmd = UInt32(ETHTOOL_GDRVINFO)
    guard ask(interface, &info) else { return nil }
    let name = withUnsafeBytes(of: info.driver) { $0.prefix { $0 != 0 } }
    return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
  }

  /// How many receive queues are in use; nil where the driver does not say.
  borrowing func receiveQueues(_ interface: String) -> Int? {
    var channels = ethtool_channels()
    channels.cmd = UInt32(ETHTOOL_GCHANNELS)
    guard ask(interface, &channels) else { return nil }
    return Int(channels.rx_count + channels.combined_count)
  }

  private borrowing func ask<T: BitwiseCopyable>(_ interface: String, _ question: inout T) -> Bool {
    clinux_interface_ioctl(socket.raw, UInt(SIOCETHTOOL), interface, &question) == 0
  }
}
