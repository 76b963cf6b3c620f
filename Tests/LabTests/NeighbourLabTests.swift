import Flow
import Glibc
import Lab
import Linux
import Testing

/// What belongs to others stays as it is, whatever the daemon does, and its place among them is the one asked for.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct NeighbourLabTests {
  /// All that others have at the interface and in nf_tables, as tools list it, and what is attached to it.
  private func listing(_ lab: KeptLab) throws -> String {
    try lab.pair.near.shell(
      """
      tc qdisc show dev near0; tc filter show dev near0 egress; tc filter show dev near0 ingress
      tc filter show dev near0 root; ip -d link show near0; nft list ruleset
      """) + "\(try lab.chain())"
  }

  @Test(arguments: ["--path tc --tc-hook tcx", "--path tc --tc-hook clsact", "--path nft"], [true, false])
  func nothingOfOthersChanges(path: String, keeps: Bool) throws {
    let lab = try KeptLab()
    let foreign = try ForeignProgram()
    try foreign.attachClsact("near0", priority: 2, in: lab.pair.near)
    let xdp = try ForeignProgram(atXDP: ()).attachXDP("near0", in: lab.pair.near)
    let link = try foreign.attachTCX("near0", in: lab.pair.near)
    try lab.pair.near.shell(
      """
      tc qdisc add dev near0 root handle 1: prio
      tc filter add dev near0 parent 1: protocol ip u32 match ip dst 203.0.113.0/24 flowid 1:1
      tc filter add dev near0 ingress matchall action pass
      nft add table inet other '{ chain out { type filter hook output priority 0; ip6 daddr ::1 accept; }; \
        set s { type ipv4_addr; elements = { 192.0.2.9 }; }; }'
      """)
    let before = try listing(lab)
    let chain = try lab.chain()
    let options = keeps ? path : "\(path) --clean"
    for signal in [SIGKILL, SIGTERM, SIGTERM] {
      let marker = try lab.start(options)
      try marker.tell(lab.line("start"))
      try lab.wait(isMarked: true)
      // What is listed besides is marker's.
      let during = try listing(lab)
      for line in before.split(separator: "\n") where !line.hasPrefix("[") {
        #expect(during.contains(line), "\(line)")
      }
      #expect(try lab.chain().filter { chain.contains($0) } == chain)
      _ = marker.stop(signal)
      if !keeps, signal == SIGTERM { #expect(try listing(lab) == before) }
    }
    _ = try lab.clean()
    #expect(try listing(lab) == before)
    #expect(try foreign.runs > 0)
    extendLifetime(link)
    extendLifetime(xdp)
  }

  /// A qdisc that marker has made goes with `marker clean`, also where one daemon made it and another found it.
  @Test func aQdiscOfOursGoesInTheEnd() throws {
    let lab = try KeptLab()
    let before = try listing(lab)
    for signal in [SIGKILL, SIGTERM] {
      let marker = try lab.start("--path tc --tc-hook clsact")
      #expect(try lab.pair.near.shell("tc qdisc show dev near0").contains("clsact"))
      _ = marker.stop(signal)
    }
    _ = try lab.clean()
    #expect(try listing(lab) == before)
  }

  /// A program's place is the one that `tc.order` says.
  @Test func theOrderAmongOthersIsTheOneAskedFor() throws {
    let lab = try KeptLab()
    let (one, two) = (try ForeignProgram(), try ForeignProgram())
    // Each goes in front of all others.
    let last = try two.attachTCX("near0", in: lab.pair.near)
    let first = try one.attachTCX("near0", in: lab.pair.near)
    let others = try lab.chain()
    try #require(others.count == 2)
    func places(_ order: String) throws -> (place: Int?, log: String) {
      let marker = try MarkerProcess(
        "--config CONFIG",
        configuration: """
          interfaces: [near0]
          path: tc
          tc: {order: \(order)}
          pipes: [PIPE]
          """, in: lab.pair.near)
      let chain = try lab.chain()
      #expect(chain.filter { others.contains($0) } == others && chain.count == 3)
      return (chain.firstIndex { !others.contains($0) }, marker.log)
    }
    #expect(try places("first").place == 0)
    #expect(try places("last").place == 2)
    #expect(try places("before program \(others[1].program)").place == 1)
    #expect(try places("after link \(others[0].link)").place == 1)
    #expect(try places("after program \(others[1].program)").place == 2)
    let lost = try places("before program 4000000000")
    #expect(lost.place == 0 && lost.log.contains("is not at this interface's tcx"), "\(lost.log)")
    extendLifetime(first)
    extendLifetime(last)
  }

  /// A link that was kept moves where the next daemon is to be elsewhere, and no packet is unmarked meanwhile.
  @Test func aKeptLinkMovesWhereTheOrderSays() throws {
    let lab = try KeptLab()
    let (one, two) = (try ForeignProgram(), try ForeignProgram())
    let last = try two.attachTCX("near0", in: lab.pair.near)
    let first = try one.attachTCX("near0", in: lab.pair.near)
    let others = try lab.chain()
    func start(_ order: String) throws -> MarkerProcess {
      try MarkerProcess(
        "--config CONFIG KEEP",
        configuration: "interfaces: [near0]\npath: tc\ntc: {order: \(order)}\npipes: [PIPE]\n",
        in: lab.pair.near)
    }
    var marker = try start("first")
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    let capture = try Capture("far0", in: lab.pair.far)
    let blast = try Blast([lab.flow.near])
    var link: UInt32?
    for (order, place, warns) in [
      ("last", 2, false), ("last", 2, false), ("before program \(others[1].program)", 1, false),
      ("after link \(others[0].link)", 1, false), ("after program 4000000000", 0, true), ("first", 0, false),
    ] {
      _ = marker.stop(SIGKILL)
      let before = try lab.chain()
      marker = try start(order)
      let chain = try lab.chain()
      #expect(chain.filter { others.contains($0) } == others && chain.count == 3, "\(order)")
      let own = chain.firstIndex { !others.contains($0) }
      #expect(own == place, "\(order)")
      #expect(marker.log.contains("is not at this interface's tcx") == warns, "\(order): \(marker.log)")
      // What is right already is not moved.
      if before.firstIndex(where: { !others.contains($0) }) == place {
        #expect(own.map { chain[$0].link } == link)
      }
      link = own.map { chain[$0].link }
    }
    blast.stop()
    let frames = try capture.frames().of(lab.flow.key)
    let unmarked = frames.filter { $0.flowLabel & ~FlowLabel.entropyMask != 0x10044 }.count
    #expect(frames.count > 50 && unmarked == 0, "\(unmarked) of \(frames.count)")
    #expect(marker.stop() == 0)
    _ = try lab.clean()
    #expect(try lab.chain() == others)
    extendLifetime(first)
    extendLifetime(last)
  }

  @Test func atClsactTheOrderIsToldToBeOfNoUse() throws {
    let lab = try KeptLab()
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: "interfaces: [near0]\npath: tc\ntc: {hook: clsact, order: last}\npipes: [PIPE]\n",
      in: lab.pair.near)
    #expect(marker.log.contains("tc.order is for tcx"), "\(marker.log)")
    #expect(marker.stop() == 0)
  }
}
