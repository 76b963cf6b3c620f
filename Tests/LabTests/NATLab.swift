import Flow
import Glibc
import Lab
import Linux

/// A host behind a router that masquerades, and the world on its other side.
///
/// host (`host0`, 10.0.0.2, fd00::2) – router (`in0`; `out0`, 203.0.113.1, 2001:db8:1::1) – world (`world0`, 203.0.113.2
/// and .3, 2001:db8:1::2)
final class NATLab: Sendable {
  let host: NetworkNamespace
  let router: NetworkNamespace
  let world: NetworkNamespace

  init() throws {
    (host, router, world) = (try NetworkNamespace(), try NetworkNamespace(), try NetworkNamespace())
    for namespace in [host, router, world] {
      try namespace.shell(
        """
        sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 \
          net.ipv6.conf.default.router_solicitations=0
        """)
    }
    try host.shell(
      """
      ip link add host0 type veth peer name in0 netns \(router.path)
      ip addr add 10.0.0.2/24 dev host0 && ip addr add fd00::2/64 dev host0 nodad && ip link set host0 up
      """)
    try world.shell(
      """
      ip link add world0 type veth peer name out0 netns \(router.path)
      ip addr add 203.0.113.2/24 dev world0 && ip addr add 203.0.113.3/24 dev world0
      ip addr add 2001:db8:1::2/64 dev world0 nodad && ip link set world0 up
      """)
    try router.shell(
      """
      ip addr add 10.0.0.1/24 dev in0 && ip addr add fd00::1/64 dev in0 nodad && ip link set in0 up
      ip addr add 203.0.113.1/24 dev out0 && ip addr add 2001:db8:1::1/64 dev out0 nodad && ip link set out0 up
      sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
      nft 'add table inet nat; add chain inet nat post { type nat hook postrouting priority srcnat; }
        add rule inet nat post oifname out0 masquerade'
      """)
    try host.shell("ip route add default via 10.0.0.1 && ip -6 route add default via fd00::1")
    let isUp = "ip -o link show"
    for (namespace, link) in [(host, "host0"), (router, "in0"), (router, "out0"), (world, "world0")] {
      try namespace.shell(
        "for i in $(seq 300); do \(isUp) \(link) | grep -q 'state UP' && break; sleep 0.01; done")
    }
  }

  /// The address that the world knows the host's by.
  static func outside(_ local: String) -> String { local.contains(":") ? "2001:db8:1::1" : "203.0.113.1" }
}

/// A STUN server of Debian's in a namespace, until it is let go.
final class STUNServerProcess: Sendable {
  private let pid: pid_t

  /// coturn, which knows RFC 8489 and both families.
  static func coturn(_ lab: NATLab) throws -> STUNServerProcess {
    try STUNServerProcess(
      "turnserver -n -S -L 203.0.113.2 -L 2001:db8:1::2 -p 3478 --no-tls --no-dtls --no-cli --log-file stdout "
        + "--pidfile /dev/null", lab.world)
  }

  /// Vovida's, of RFC 3489's time: it knows MAPPED-ADDRESS only, and wants two addresses.
  static func stund(_ lab: NATLab) throws -> STUNServerProcess {
    try STUNServerProcess("stund -h 203.0.113.2 -a 203.0.113.3 -p 3480 -o 3481", lab.world)
  }

  private init(_ command: String, _ namespace: NetworkNamespace) throws {
    let text = try namespace.shell("\(command) >/dev/null 2>&1 </dev/null & echo $!")
    guard let pid = pid_t(text.filter(\.isNumber)) else {
      throw SystemError("no process: \(text)", code: ESRCH)
    }
    self.pid = pid
  }

  deinit { kill(pid, SIGKILL) }
}
