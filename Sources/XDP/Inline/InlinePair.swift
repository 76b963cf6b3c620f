internal import Flow
public import Linux

/// The two ports that packets go between: those that arrive at `inside` and go out by `outside` are marked.
public struct InlinePair: Hashable, Sendable {
  public let inside: Interface
  public let outside: Interface

  /// - Throws: why no packets can be taken over between these two.
  public init(inside: Interface, outside: Interface) throws(InlineError) {
    guard inside.index != outside.index else { throw .sameDevice(inside.name) }
    for port in [inside, outside] {
      guard port.linkHeader == .ethernet, !port.isLoopback else { throw .notEthernet(port) }
    }
    // A veth's `lower` is its peer.
    let arePeers = inside.kind == "veth" && inside.lowerNamespace == nil && inside.lower == outside.index
    guard !arePeers else { throw .peers(inside.name, outside.name) }
    guard inside.master != 0, inside.master == outside.master else {
      throw .noBridge(inside.name, outside.name)
    }
    guard outside.mtu == 0 || inside.mtu <= outside.mtu else { throw .mtu(inside, outside) }
    self.inside = inside
    self.outside = outside
  }

  /// Looks both up by their names in the calling thread's namespace.
  ///
  /// - Throws: what is wrong with them.
  public static func find(inside: String, outside: String) throws(InlineError) -> InlinePair {
    let interfaces: [Interface]
    let addressed: Set<UInt32>
    do throws(SystemError) {
      interfaces = try Interface.all()
      addressed = Set(try LocalAddress.all().filter { !$0.address.isLinkLocal }.map(\.interface))
    } catch {
      throw .system(error)
    }
    func port(_ name: String) throws(InlineError) -> Interface {
      guard let found = interfaces.first(where: { $0.name == name }) else { throw .missing(name) }
      guard !addressed.contains(found.index) else { throw .hasAddress(name) }
      return found
    }
    let pair = try InlinePair(inside: port(inside), outside: port(outside))
    guard let bridge = interfaces.first(where: { $0.index == pair.inside.master && $0.kind == "bridge" })
    else { throw .noBridge(inside, outside) }
    let filtersTags: Bool
    do throws(SystemError) { filtersTags = try Bridge.filtersTags(bridge) } catch { throw .system(error) }
    guard !filtersTags else { throw .filtersTags(bridge) }
    return pair
  }
}

/// Why packets cannot be taken over between two ports, and what would help.
public enum InlineError: Error, Sendable {
  case missing(String)
  case sameDevice(String)
  case notEthernet(Interface)
  case peers(String, String)
  case noBridge(String, String)
  case hasAddress(String)
  /// The bridge has rules for VLANs, which packets that are taken over would not obey.
  case filtersTags(Interface)
  case mtu(Interface, Interface)
  /// AF_XDP takes no frames of this size.
  case frames(Interface, longest: UInt32)
  case peer(Interface, String)
  case xdpTaken(Interface)
  /// The packet thread has ended.
  case ended(String)
  case program(BPFError)
  case system(SystemError)
}

extension InlineError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .missing(let name): "there is no interface \(name) here; `ip link` lists those that are"
    case .sameDevice(let name): "inside and outside are both \(name); they are two ports of a bridge"
    case .notEthernet(let port):
      "\(port.name) has link type \(port.hardwareType) (ARPHRD_…); packets are taken over between Ethernet ports"
    case .peers(let inside, let outside):
      "\(inside) and \(outside) are the two ends of one veth pair: nothing is between them"
    case .noBridge(let inside, let outside):
      "\(inside) and \(outside) are not ports of one bridge, which has the traffic while marker does not; "
        + "`marker inline up --inside \(inside) --outside \(outside)` makes one"
    case .hasAddress(let name):
      "\(name) has an IP address: a port carries the traffic of others; give the address to the bridge or another device"
    case .filtersTags(let bridge):
      "\(bridge.name) filters VLANs, and packets that marker takes over do not pass its filter; "
        + "`ip link set \(bridge.name) type bridge vlan_filtering 0`, or a bridge for these two ports alone"
    case .mtu(let inside, let outside):
      "\(inside.name) has MTU \(inside.mtu) and \(outside.name) only \(outside.mtu): large packets would be lost; "
        + "`ip link set \(inside.name) mtu \(outside.mtu)`, and the same inside"
    case .frames(let port, let longest):
      "\(port.name) has MTU \(port.mtu), and AF_XDP takes frames of \(longest) bytes at most; engine raw takes all"
    case .peer(let port, let reason):
      "the other end of \(port.name) leaves VLAN tags and checksums to its device, where AF_XDP does not see them, and that "
        + "cannot be changed from here (\(reason)); engine raw takes them as they are"
    case .xdpTaken(let port): "\(port.name) has an XDP program of somebody else; `ip link show \(port.name)`"
    case .ended(let reason): reason
    case .program(let error): "\(error)"
    case .system(let error): "\(error)\(Self.help(error))"
    }
  }

  private static func help(_ error: SystemError) -> String {
    switch (error.subject, error.code) {
    case ("/dev/net/tun", 2), ("/dev/net/tun", 19): "; it takes the module tun and the device /dev/net/tun"
    case (_, 1): "; it takes root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"
    default: ""
    }
  }
}
