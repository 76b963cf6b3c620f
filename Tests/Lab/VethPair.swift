import Flow
public import Linux

/// Two namespaces joined by a veth pair, quiet: static neighbours, no address detection, no routers.
///
/// near (`near0`, 2001:db8::1, 192.0.2.1) – far (`far0`, 2001:db8::2, 192.0.2.2)
public final class VethPair: Sendable {
  public let near: NetworkNamespace
  public let far: NetworkNamespace

  public static let near6 = "2001:db8::1"
  public static let far6 = "2001:db8::2"
  public static let near4 = "192.0.2.1"
  public static let far4 = "192.0.2.2"
  public static let nearHardware = "02:00:00:00:00:01"
  public static let farHardware = "02:00:00:00:00:02"

  /// - Parameters:
  ///   - mtu: of both ends.
  ///   - offloads: whether the near end hands super-packets and partial checksums to the far one. Without,
  ///     the far side sees what a wire would carry.
  public init(mtu: Int = 1500, offloads: Bool = false) throws(SystemError) {
    _ = ProcessGroup.folder
    near = try NetworkNamespace()
    far = try NetworkNamespace()
    for namespace in [near, far] {
      try namespace.shell(
        """
        sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 \
          net.ipv6.conf.default.router_solicitations=0
        """)
    }
    try near.shell(
      """
      ip link add near0 mtu \(mtu) address \(Self.nearHardware) type veth \
        peer name far0 mtu \(mtu) address \(Self.farHardware) netns \(far.path)
      ip addr add \(Self.near6)/64 dev near0 nodad && ip addr add \(Self.near4)/24 dev near0
      ip link set near0 up
      ip neigh replace \(Self.far6) lladdr \(Self.farHardware) dev near0 nud permanent
      ip neigh replace \(Self.far4) lladdr \(Self.farHardware) dev near0 nud permanent
      """)
    try far.shell(
      """
      ip addr add \(Self.far6)/64 dev far0 nodad && ip addr add \(Self.far4)/24 dev far0
      ip link set far0 up
      ip neigh replace \(Self.near6) lladdr \(Self.nearHardware) dev far0 nud permanent
      ip neigh replace \(Self.near4) lladdr \(Self.nearHardware) dev far0 nud permanent
      """)
    // Until the kernel has seen the carrier, which it looks for once a second where many links come, packets are lost.
    let isUp = "ip -o link show"
    try near.shell("for i in $(seq 300); do \(isUp) near0 | grep -q 'state UP' && break; sleep 0.01; done")
    try far.shell("for i in $(seq 300); do \(isUp) far0 | grep -q 'state UP' && break; sleep 0.01; done")
    if !offloads {
      try near.shell("ethtool -K near0 tx off tso off gso on >/dev/null")
    }
  }
}
