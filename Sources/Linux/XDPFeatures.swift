internal import CLinux
internal import Glibc

/// What an interface's driver can do with XDP, as it says itself: enum netdev_xdp_act of <linux/netdev.h> (6.3).
public struct XDPFeatures: OptionSet, Hashable, Sendable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Programs run in the driver.
  public static let native = XDPFeatures(rawValue: 1 << 0)
  public static let redirect = XDPFeatures(rawValue: 1 << 1)
  /// AF_XDP without copying packets.
  public static let zeroCopy = XDPFeatures(rawValue: 1 << 3)

  /// The names of those that there are.
  public var words: [String] {
    [(Self.native, "native"), (.redirect, "redirect"), (.zeroCopy, "zero-copy")].filter { contains($0.0) }
      .map(\.1)
  }

  /// The family's name and the numbers of its messages (Documentation/netlink/specs/netdev.yaml).
  private static let family = "netdev"
  private static let deviceGet: UInt8 = 1  // NETDEV_CMD_DEV_GET
  private static let interfaceIndex = 1  // NETDEV_A_DEV_IFINDEX
  private static let features = 3  // NETDEV_A_DEV_XDP_FEATURES

  /// Those of every interface, by its index. Asks the kernel, and changes nothing.
  ///
  /// - Throws: ENOENT where the kernel cannot say, before 6.3.
  public static func all() throws(SystemError) -> [UInt32: XDPFeatures] {
    let socket = try NetlinkSocket(family: Int32(NETLINK_GENERIC))
    var number: UInt16?
    let families = genlmsghdr(cmd: UInt8(CTRL_CMD_GETFAMILY), version: 2, reserved: 0)
    try socket.dump(type: Int32(GENL_ID_CTRL), families) { _, payload in
      let attributes = NetlinkAttributes(payload, after: MemoryLayout<genlmsghdr>.size)
      guard let name = attributes[Int(CTRL_ATTR_FAMILY_NAME)], let id = attributes[Int(CTRL_ATTR_FAMILY_ID)],
        String(decoding: name.prefix { $0 != 0 }, as: UTF8.self) == family, id.count == 2
      else { return }
      number = id.loadUnaligned(as: UInt16.self)
    }
    guard let number else { throw SystemError("generic netlink", family, code: ENOENT) }
    var found: [UInt32: XDPFeatures] = [:]
    let request = genlmsghdr(cmd: deviceGet, version: 1, reserved: 0)
    try socket.dump(type: Int32(number), request) { _, payload in
      let attributes = NetlinkAttributes(payload, after: MemoryLayout<genlmsghdr>.size)
      guard let index = attributes[interfaceIndex], let bits = attributes[features], index.count == 4,
        bits.count == 8
      else { return }
      found[index.loadUnaligned(as: UInt32.self)] = XDPFeatures(
        rawValue: bits.loadUnaligned(as: UInt64.self))
    }
    return found
  }
}
