internal import CLinux
internal import Glibc

/// The offloads of a network device of the calling thread's namespace, by the names that `ethtool -k` shows.
public struct DeviceFeatures: ~Copyable {
  private let name: String
  private let socket: Descriptor
  /// All features that this kernel knows, in the order of their bits.
  private let names: [String]
  // ETH_SS_FEATURES and the commands of <linux/ethtool.h>.
  private static let featureStrings: UInt32 = 4
  private static let stringLength = 32

  public init(of name: String) throws(SystemError) {
    let socket = try Descriptor("socket", "UDP") {
      Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    // struct ethtool_sset_info: command, reserved, a mask of sets, then a count for each.
    var sizes = [UInt32](repeating: 0, count: 5)
    sizes[0] = UInt32(ETHTOOL_GSSET_INFO)
    sizes[2] = 1 << Self.featureStrings
    try Self.ask(socket.raw, name, &sizes)
    let count = Int(sizes[4])
    // struct ethtool_gstrings: command, set, count, then the strings.
    var strings = [UInt32](repeating: 0, count: 3 + count * Self.stringLength / 4)
    strings[0] = UInt32(ETHTOOL_GSTRINGS)
    strings[1] = Self.featureStrings
    strings[2] = UInt32(count)
    try Self.ask(socket.raw, name, &strings)
    names = strings.withUnsafeBytes { bytes in
      (0..<count).map { place in
        let start = 12 + place * Self.stringLength
        return String(decoding: bytes[start..<start + Self.stringLength].prefix { $0 != 0 }, as: UTF8.self)
      }
    }
    self.name = name
    self.socket = socket
  }

  /// The features that are on.
  public func enabled() throws(SystemError) -> Set<String> {
    let blocks = (names.count + 31) / 32
    // struct ethtool_gfeatures: command, size, then for each 32 features what is available, requested, active, never
    // changed.
    var features = [UInt32](repeating: 0, count: 2 + blocks * 4)
    features[0] = UInt32(ETHTOOL_GFEATURES)
    features[1] = UInt32(blocks)
    try Self.ask(socket.raw, name, &features)
    var enabled: Set<String> = []
    for (place, feature) in names.enumerated() where features[2 + place / 32 * 4 + 2] >> (place % 32) & 1 == 1
    {
      enabled.insert(feature)
    }
    return enabled
  }

  /// Turns features on or off; names that this kernel does not know are passed over.
  ///
  /// - Returns: those that the device did not change, because they are fixed.
  @discardableResult
  public func set(_ wanted: [String: Bool]) throws(SystemError) -> [String] {
    let blocks = (names.count + 31) / 32
    // struct ethtool_sfeatures: command, size, then for each 32 features a mask and the values.
    var features = [UInt32](repeating: 0, count: 2 + blocks * 2)
    features[0] = UInt32(ETHTOOL_SFEATURES)
    features[1] = UInt32(blocks)
    for (place, feature) in names.enumerated() {
      guard let isOn = wanted[feature] else { continue }
      features[2 + place / 32 * 2] |= 1 << (place % 32)
      if isOn { features[2 + place / 32 * 2 + 1] |= 1 << (place % 32) }
    }
    try Self.ask(socket.raw, name, &features)
    let enabled = try enabled()
    return wanted.filter { names.contains($0.key) && enabled.contains($0.key) != $0.value }.map(\.key)
      .sorted()
  }

  private static func ask(_ socket: Int32, _ name: String, _ question: inout [UInt32]) throws(SystemError) {
    try system("ethtool", name) {
      question.withUnsafeMutableBytes { bytes in
        clinux_interface_ioctl(socket, UInt(SIOCETHTOOL), name, bytes.baseAddress)
      }
    }
  }
}
