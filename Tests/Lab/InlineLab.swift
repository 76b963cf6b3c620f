import Flow
import Glibc
public import Linux

/// Two ends of a path, each in a namespace of its own.
public protocol TwoEnds {
  var near: NetworkNamespace { get }
  var far: NetworkNamespace { get }
}

extension VethPair: TwoEnds {}

/// A host whose packets a box between it and the network marks.
///
/// near (`app0`, the addresses of `VethPair.near…`) – box (`in0`, bridge `br0`, `out0`) – far (`rem0`, those of `far…`)
public final class InlineLab: TwoEnds, Sendable {
  public let near: NetworkNamespace
  public let box: NetworkNamespace
  public let far: NetworkNamespace
  /// A process that lives in `near`, as a service does; by it the namespace can be found.
  private let inhabitant: Int32

  /// - Parameters:
  ///   - mtu: of all devices.
  ///   - isWire: whether what leaves `out0` is as on a wire: checksums whole, no super-packets. What arrives at `in0` is
  ///     what a veth carries.
  ///   - bridged: whether the ports are in a bridge.
  ///   - queues: of `app0` for sending, and of `in0` for receiving.
  public init(
    mtu: Int = 1500, isWire: Bool = true, bridged: Bool = true, queues: Int = 1
  ) throws(SystemError) {
    near = try NetworkNamespace()
    box = try NetworkNamespace()
    far = try NetworkNamespace()
    for namespace in [near, box, far] {
      try namespace.shell(
        """
        sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 \
          net.ipv6.conf.default.router_solicitations=0
        """)
    }
    try box.shell("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
    try box.shell(
      """
      ip link add in0 mtu \(mtu) numtxqueues \(queues) numrxqueues \(queues) type veth \
        peer name app0 mtu \(mtu) address \(VethPair.nearHardware) numtxqueues \(queues) numrxqueues \(queues) \
        netns \(near.path)
      ip link add out0 mtu \(mtu) type veth peer name rem0 mtu \(mtu) address \(VethPair.farHardware) netns \(far.path)
      ip link set in0 up && ip link set out0 up
      """)
    if bridged {
      try box.shell(
        "ip link add br0 mtu \(mtu) type bridge && ip link set in0 master br0 && ip link set out0 master br0 && ip link set br0 up"
      )
    }
    if isWire { try box.shell("ethtool -K out0 tx off tso off gso off >/dev/null") }
    for (namespace, device, six, four) in [
      (near, "app0", VethPair.near6, VethPair.near4), (far, "rem0", VethPair.far6, VethPair.far4),
    ] {
      try namespace.shell(
        "ip addr add \(six)/64 dev \(device) nodad && ip addr add \(four)/24 dev \(device) && ip link set \(device) up"
      )
    }
    inhabitant = try near.run { () throws(SystemError) in try startShell("exec sleep 600") }
    guard bridged else { return }
    for (local, remote) in [(VethPair.near6, VethPair.far6), (VethPair.near4, VethPair.far4)] {
      try reach(local, remote)
    }
  }

  /// Sends datagrams until one arrives: the bridge's ports have to be forwarding, and the ends to know each other.
  private func reach(_ local: String, _ remote: String) throws(SystemError) {
    guard let local = Address(local), let remote = Address(remote) else { return }
    let far = try LabSocket(.udp, in: far, bound: Endpoint(remote, 0))
    let near = try LabSocket(.udp, in: near, bound: Endpoint(local, 0))
    for _ in 0..<200 {
      try near.send([0], to: far.local)
      if try far.receive(within: 50) != nil { return }
    }
    throw SystemError("nothing gets through the bridge", code: ETIMEDOUT)
  }

  deinit {
    kill(inhabitant, SIGKILL)
    waitpid(inhabitant, nil, 0)
  }

  /// Packets that the far end's kernel found to have a wrong checksum, of all protocols.
  public func checksumErrors() throws(SystemError) -> Int {
    let text = try far.shell("nstat -asz | awk '/CsumErr|InHdrErrors/{sum += $2} END {print sum + 0}'")
    return Int(text.filter(\.isNumber)) ?? -1
  }
}
