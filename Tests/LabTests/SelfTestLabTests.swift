import Glibc
import Lab
import Linux
import Testing

/// `marker selftest` proves marks, and leaves nothing, also where it is killed.
@Suite(.enabled(if: geteuid() == 0, "needs root"), .serialized) struct SelfTestLabTests {
  /// Nobody else has this number, so what it loads can be told from what other tests load at the same time.
  private static let user: UInt32 = 61_236
  private static let capabilities = "+net_admin,+net_raw,+sys_admin,+bpf,+dac_override,+ipc_lock"
  private static let command =
    "setpriv --reuid \(user) --inh-caps=\(capabilities) "
    + "--ambient-caps=\(capabilities) \(MarkerProcess.binary) selftest"

  private func traces(_ host: NetworkNamespace) throws -> String {
    try host.shell(
      "nft list ruleset; ip -details address; ip -details rule; tc qdisc show"
    )
  }

  /// The kernel frees things a little after their last holder went.
  private func isGone() throws -> Bool {
    for _ in 0..<1000 {
      if try ProgramList.loaded(by: Self.user).isEmpty { return true }
      usleep(10_000)
    }
    return false
  }

  private func host() throws -> NetworkNamespace {
    // Programs are attached to this process's group, not to one that others are in.
    _ = ProcessGroup.folder
    let host = try NetworkNamespace()
    try host.shell("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && ip link add v0 type veth peer name v1")
    return host
  }

  @Test func everyPathMarksHere() throws {
    let host = try host()
    let before = try traces(host)
    let said = try host.shell("\(Self.command) --json")
    #expect(said.hasPrefix("{\"sound\":true,"), "\(said)")
    // Six paths, three marks, TCP and UDP; sock has TCP only.
    #expect(said.components("\"verdict\":\"yes\"") == 33, "\(said)")
    #expect(
      said.components("\"verdict\":\"no\"") == 0 && said.components("\"verdict\":\"untried\"") == 3, "\(said)"
    )
    #expect(try isGone())
    #expect(try traces(host) == before)
  }

  @Test func theTableNamesThem() throws {
    let said = try host().shell("\(Self.command) --path nft --path sock")
    let rows = said.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
    #expect(rows[0] == ["PATH", "MARK", "TCP", "UDP"])
    #expect(rows.contains { $0.starts(with: ["nft", "IPv4", "DSCP", "yes,"]) }, "\(said)")
    #expect(said.contains("sock, IPv6 flow label, UDP: sockets of TCP only; another path"), "\(said)")
    #expect(said.contains("marks can be had"))
  }

  @Test func withoutPrivilegesItSaysSo() throws {
    let said = try host().shell(
      "setpriv --reuid \(Self.user) --inh-caps=-all \(MarkerProcess.binary) selftest --path nft; echo status $?"
    )
    #expect(said.contains("CAP_NET_ADMIN") && said.contains("status 2"), "\(said)")
  }

  @Test func nothingStaysOfOneThatIsKilled() throws {
    let host = try host()
    let before = try traces(host)
    var random = SystemRandomNumberGenerator()
    var caught = 0
    var loaded: Set<UInt32> = []
    for round in 0..<8 {
      let process = try host.run { () throws(SystemError) in
        try startShell("exec \(Self.command) >/dev/null 2>&1")
      }
      // Rounds that end as the first program is there, and rounds that end anywhere.
      for _ in 0..<(round % 2 == 0 ? 5000 : Int.random(in: 5..<1500, using: &random)) {
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
    #expect(caught > 3, "some must be killed before they end by themselves")
    #expect(!loaded.isEmpty, "what is looked for must be there while a test runs")
    #expect(try traces(host) == before)
  }
}

extension String {
  /// How often a text is in it.
  fileprivate func components(_ text: String) -> Int { ranges(of: text).count }
}
