import Flow
import Glibc
import Lab
import Linux
import Testing

/// The daemon with the sock path, alone and with tc beside it.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct DaemonSockLabTests {
  private func start(_ options: String, _ pair: VethPair) throws -> MarkerProcess {
    try MarkerProcess("--interface near0 --pipe PIPE --no-remote-fireflies \(options)", in: pair.near)
  }

  private func tell(_ marker: MarkerProcess, _ state: String, _ flow: FlowKey) throws {
    try marker.tell(
      "\(state) \(flow.transport.name) \(flow.local.address) \(flow.local.port) \(flow.remote.address) "
        + "\(flow.remote.port) 2 17\n")
  }

  /// What the far side sees of a message; asked again until it is as wanted, because a pipe has no answer.
  private func sees(_ pair: VethPair, _ flow: Conversation, _ wanted: (Frame) -> Bool) throws -> Bool {
    for _ in 0..<100 {
      let capture = try Capture("far0", in: pair.far)
      try flow.near.send([1, 2, 3])
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if !frames.isEmpty, frames.allSatisfy(wanted) { return true }
    }
    return false
  }

  private func isMarked(_ frame: Frame) -> Bool {
    frame.isIPv6 ? frame.flowLabel & ~FlowLabel.entropyMask == 0x10044 : frame.dscp == 11
  }

  private func isAttached(_ pair: VethPair) throws -> Bool {
    try pair.near.shell("tc filter show dev near0 egress").contains("marker_ethernet")
  }

  /// tc is there while something needs it, and only then.
  @Test func togetherWithTC() throws {
    let pair = try VethPair()
    let (six, four) = (try Conversation.tcp(pair), try Conversation.tcp(pair, ipv4: true))
    let marker = try start("--strategy auto --tc-hook clsact", pair)
    for flow in [six, four] {
      try tell(marker, "start", flow.key)
      #expect(try sees(pair, flow, isMarked))
    }
    #expect(marker.waitForLog("tc is not attached meanwhile", seconds: 60))
    #expect(try !isAttached(pair))
    for flow in [six, four] { #expect(try sees(pair, flow, isMarked)) }
    // A flow that no socket of TCP has.
    let udp = try Conversation.udp(pair)
    try tell(marker, "start", udp.key)
    #expect(try sees(pair, udp, isMarked))
    #expect(try isAttached(pair))
    // Both at once: each packet has one label, with the same free bits.
    let capture = try Capture("far0", in: pair.far)
    try six.transfer(500_000)
    let frames = try capture.frames().of(six.key)
    #expect(frames.count > 300 && frames.allSatisfy(isMarked) && Set(frames.map(\.flowLabel)).count == 1)
    for flow in [six, four, udp] { try tell(marker, "end", flow.key) }
    for flow in [six, four, udp] { #expect(try sees(pair, flow) { !isMarked($0) }) }
    #expect(marker.stop() == 0)
    #expect(try !isAttached(pair))
  }

  /// The accepting side with tc: its SYN-ACK, too, and all with one label.
  @Test func fromTheSYNACKOn() throws {
    let pair = try VethPair()
    let marker = try start("--strategy auto", pair)
    for isIPv4 in [false, true] {
      let listener = try LabSocket(.tcp, in: pair.near, bound: try SockLab.end(true, isIPv4, 0))
      try listener.listen()
      let far = try LabSocket(.tcp, in: pair.far, bound: try SockLab.end(false, isIPv4, 0))
      let key = FlowKey(local: listener.local, remote: far.local, transport: .tcp)
      try tell(marker, "start", key)
      // Lines are carried out in their order: when the flow behind is marked, so is this one.
      let after = try Conversation.udp(pair, ipv4: isIPv4)
      try tell(marker, "start", after.key)
      #expect(try sees(pair, after, isMarked))
      let capture = try Capture("far0", in: pair.far)
      try far.connect(to: listener.local)
      let near = try listener.accept()
      try near.send([UInt8](repeating: 1, count: 50_000))
      let frames = try capture.frames().of(key)
      #expect(frames.count > 30 && frames.allSatisfy(isMarked) && Set(frames.map(\.flowLabel)).count == 1)
      // A refusal has no socket at all.
      let closed = FlowKey(
        local: try SockLab.end(true, isIPv4, 24_000), remote: try SockLab.end(false, isIPv4, 24_001),
        transport: .tcp)
      try tell(marker, "start", closed)
      let behind = try Conversation.udp(pair, ipv4: isIPv4)
      try tell(marker, "start", behind.key)
      #expect(try sees(pair, behind, isMarked))
      let refused = try Capture("far0", in: pair.far)
      try? LabSocket(.tcp, in: pair.far, bound: closed.remote).connect(to: closed.local)
      let refusals = try refused.frames().of(closed)
      #expect(!refusals.isEmpty && refusals.allSatisfy(isMarked))
    }
    #expect(marker.stop() == 0)
  }

  @Test func alone() throws {
    let pair = try VethPair()
    let six = try Conversation.tcp(pair)
    let udp = try Conversation.udp(pair)
    let marker = try start("--path sock", pair)
    #expect(marker.waitForLog("path sock marks TCP of this host's own sockets alone"))
    try tell(marker, "start", six.key)
    #expect(try sees(pair, six, isMarked))
    try tell(marker, "start", udp.key)
    #expect(marker.waitForLog("the kernel refused a mark; the flow goes on without"))
    #expect(try sees(pair, udp) { !isMarked($0) })
    #expect(try pair.near.shell("nft list tables; tc qdisc show dev near0").contains("clsact") == false)
    let own = try six.near.get(SOL_SOCKET, 74)  // SO_TXREHASH, which keeps the label
    #expect(own == 0)
    let blast = try Blast([six.near])
    #expect(marker.stop() == 0)
    blast.stop()
    #expect(try six.near.get(SOL_SOCKET, 74) == 1)
    #expect(try sees(pair, six) { !isMarked($0) })
  }

  /// What rules find as it begins is set at the same event: no packet is seen by anything else here.
  @Test func byRulesFromTheSYNOn() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5200-5210}]", path: "sock")
    let tag = try SciTag(experiment: 2, activity: 17)
    let flow = try lab.connect(to: 5201)
    let other = try lab.connect(to: 5300)
    for flow in [flow, other] { try flow.transfer(100_000) }
    let frames = try lab.wire.frames()
    let tags = lab.tags(flow.key, frames)
    #expect(tags.count >= 60 && tags.allSatisfy { $0 == tag }, "\(tags)")
    #expect(!lab.tags(other.key, frames).contains(tag))
    let start = try lab.heard(1)
    #expect(start.map(\.state) == ["start"] && start[0].destinationPort == 5201)
    // Other rules while it goes on: connections that come are found and set by the programs that follow.
    try lab.configure("[{experiment: 3, activity: 14, remotePorts: 5300-5301}]", path: "sock")
    #expect(lab.marker.waitForLog("configuration read again"))
    let next = try lab.connect(to: 5301)
    try next.transfer(100_000)
    let cms = try SciTag(experiment: 3, activity: 14)
    let later = lab.tags(next.key, try lab.wire.frames())
    #expect(later.count >= 60 && later.allSatisfy { $0 == cms })
  }

  @Test(arguments: [
    ("--path sock --mark-all 2/1", "cannot mark packets that belong to no flow"),
    ("--path sock --cgroup /nowhere", "/nowhere"),
    ("--path sock --strategy hopByHop", "cannot be set to send an extension header"),
  ])
  func whatCannotBe(options: String, says: String) throws {
    let pair = try VethPair()
    let error = #expect(throws: SystemError.self) { try start(options, pair) }
    #expect(error?.description.contains(says) == true, "\(String(describing: error))")
  }

  /// Where sockets cannot make labels tc does, from the start and from the moment on.
  @Test func settingsInTheWay() throws {
    let pair = try VethPair()
    let six = try Conversation.tcp(pair)
    try pair.near.shell("sysctl -qw net.ipv6.flowlabel_state_ranges=1")
    let refused = try start("--entropy flow", pair)
    #expect(refused.log.contains("flowlabel_state_ranges"))
    try tell(refused, "start", six.key)
    #expect(try sees(pair, six, isMarked))
    #expect(refused.stop() == 0)
    try pair.near.shell("sysctl -qw net.ipv6.flowlabel_state_ranges=0")
    let marker = try start("", pair)
    try tell(marker, "start", six.key)
    #expect(try sees(pair, six, isMarked))
    #expect(marker.waitForLog("tc is not attached meanwhile", seconds: 60))
    try pair.near.shell("sysctl -qw net.ipv6.auto_flowlabels=0")
    #expect(marker.waitForLog("tc marks meanwhile"))
    #expect(try sees(pair, six, isMarked))
    #expect(marker.stop() == 0)
  }
}
