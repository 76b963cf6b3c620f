import Glibc
import Lab
import Linux
import Testing

/// The probe leaves nothing, also where it is killed.
@Suite(.enabled(if: geteuid() == 0, "needs root"), .serialized) struct ProbeTracesLabTests {
  /// Nobody else has this number, so what it loads can be told from what other tests load at the same time.
  private static let user: UInt32 = 61_234
  private static let probe =
    "setpriv --reuid \(user) --inh-caps=\(capabilities) --ambient-caps=\(capabilities) "
    + "\(MarkerProcess.binary) probe"
  private static let capabilities = "+net_admin,+net_raw,+sys_admin,+bpf,+dac_override"

  /// All of a host that a probe could leave something in: its network, and below its control group, where other tests
  /// have theirs.
  private func traces(_ host: NetworkNamespace) throws -> String {
    try host.shell(
      """
      nft list ruleset; ip -details address; ip -details rule; tc qdisc show
      group=$(sed -n 's/^0:://p' /proc/self/cgroup)
      awk '$9 == "cgroup2" || $10 == "cgroup2" {print $5}' /proc/self/mountinfo |
        while read -r mount; do find "$mount$group" -maxdepth 1 -type d ! -name "lab-*"; done
      """)
  }

  /// Whether all that was loaded is gone; the kernel frees things a little after their last holder went.
  private func isGone() throws -> Bool {
    for _ in 0..<500 {
      if try ProgramList.loaded(by: Self.user).isEmpty { return true }
      usleep(10_000)
    }
    return false
  }

  private func host() throws -> NetworkNamespace {
    let host = try NetworkNamespace()
    // Without IPv6 nothing changes by itself after the links are up.
    try host.shell(
      """
      sysctl -qw net.ipv6.conf.default.disable_ipv6=1
      ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up
      nft add table inet other && nft add chain inet other c '{ type filter hook output priority 0; }'
      tc qdisc add dev v0 clsact
      """)
    return host
  }

  @Test func nothingStays() throws {
    let host = try host()
    let before = try traces(host)
    try host.shell(Self.probe)
    #expect(try isGone())
    #expect(try traces(host) == before)
  }

  @Test func nothingIsPinned() throws {
    // With a bpf file system of its own, so that what others pin is not seen.
    // The kernel pins programs of its own in a new one.
    let script =
      "mount -t bpf bpf /sys/fs/bpf && ls -R /sys/fs/bpf; echo; \(Self.probe) >/dev/null; ls -R /sys/fs/bpf"
    let listings = try shell("unshare --mount --propagation private sh -c '\(script)'").split(
      separator: "\n\n", omittingEmptySubsequences: false)
    #expect(
      listings.count == 2 && listings[0].split(separator: "\n") == listings[1].split(separator: "\n"),
      "\(listings)")
  }

  @Test func nothingStaysOfOneThatIsKilled() throws {
    let host = try host()
    let before = try traces(host)
    var random = SystemRandomNumberGenerator()
    var caught = 0
    var loaded: Set<UInt32> = []
    for round in 0..<20 {
      let process = try host.run { () throws(SystemError) in
        try startShell("exec \(Self.probe) >/dev/null 2>&1")
      }
      // Rounds that end with what is looked for in place, and rounds that end anywhere.
      let patience = UInt32.random(in: 5_000..<250_000, using: &random)
      for _ in 0..<(round % 2 == 0 ? 2000 : Int(patience / 1000)) {
        let there = try ProgramList.loaded(by: Self.user)
        loaded.formUnion(there)
        if round % 2 == 0, !there.isEmpty { break }
        usleep(1000)
      }
      kill(process, SIGKILL)
      var status: Int32 = 0
      waitpid(process, &status, 0)
      if status & 0x7f == SIGKILL { caught += 1 }
      #expect(try isGone())
    }
    #expect(caught > 5, "some must be killed before they end by themselves")
    #expect(!loaded.isEmpty, "what is looked for must be there while a probe runs")
    #expect(try traces(host) == before)
    // And the next one is not confused by what went before.
    try host.shell(Self.probe)
  }
}
