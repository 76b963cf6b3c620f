import Flow
import Glibc
import Lab
import Linux
import Synchronization
import Testing
import XDP

/// What becomes of the traffic when the daemon does not live, hangs, or is not welcome.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InlineFailureLabTests {
  /// Killed under load: the bridge has the traffic, unmarked, until the next daemon marks it again.
  @Test(arguments: ["raw", "xdp"]) func killed(path: String) throws {
    let lab = try InlineLab()
    let flow = try Conversation.udp(lab)
    var marker = try lab.startMarker("--path \(path)")
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    let stream = try NumberedStream(flow)
    let capture = try Capture("rem0", in: lab.far)
    usleep(200_000)
    #expect(marker.stop(SIGKILL) == nil)
    usleep(200_000)
    let after = try Capture("rem0", in: lab.far)
    usleep(100_000)
    #expect(try after.frames(quiet: 0).of(flow.key).contains { !$0.isLabelled })
    marker = try lab.startMarker("--path \(path)")
    try marker.tell("start", flow)
    var isMarkedAgain = false
    for _ in 0..<100 where !isMarkedAgain {
      let again = try Capture("rem0", in: lab.far)
      usleep(50_000)
      let frames = try again.frames(quiet: 0).of(flow.key)
      isMarkedAgain = !frames.isEmpty && frames.allSatisfy(\.isLabelled)
    }
    #expect(isMarkedAgain)
    let result = stream.stop()
    let frames = try capture.frames().of(flow.key)
    print(
      "\(path): killed under load, \(result.lost) of \(result.sent) lost, longest gap \(result.longestGap) ms"
    )
    // What was on its way in the process is lost with it, and what came while the kernel took it down.
    #expect(result.lost < result.sent / 10)
    #expect(frames.contains { $0.isLabelled } && frames.contains { !$0.isLabelled })
    #expect(frames.allSatisfy { $0.checksumsAreRight == true })
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try lab.checksumErrors() == 0)
  }

  /// What the daemon says of the marks when it stops is true: here they do not stay.
  @Test(arguments: ["raw", "xdp"]) func aStopSaysThatMarksEnd(path: String) throws {
    let lab = try InlineLab()
    let flow = try Conversation.udp(lab)
    let marker = try lab.startMarker("--path \(path) KEEP")
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    #expect(marker.stop() == 0)
    #expect(
      !marker.log.contains("marks stay") && marker.log.contains("their packets leave unmarked until then"),
      "\(marker.log)")
    #expect(try lab.sees(flow) { !$0.isLabelled })
    try lab.box.shell("\(MarkerProcess.binary) clean")
  }

  /// Stopped by a signal, as if its thread hung: the lease runs out, and the bridge has the traffic.
  @Test(arguments: ["raw --tc-hook tcx", "raw --tc-hook clsact", "xdp"]) func hanging(path: String) throws {
    let lab = try InlineLab()
    let flow = try Conversation.udp(lab)
    let marker = try lab.startMarker("--path \(path)")
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    marker.signal(SIGSTOP)
    #expect(try lab.sees(flow) { !$0.isLabelled })
    marker.signal(SIGCONT)
    #expect(try lab.sees(flow) { $0.isLabelled })
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  /// More than there is room for: every packet either arrives or is counted.
  @Test func overflowIsCounted() throws {
    let lab = try InlineLab()
    let flow = try Conversation.udp(lab, ipv4: true)
    try flow.far.set(SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
    let marker = try lab.startMarker("--path xdp --strategy dscp")
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.dscp == 11 })
    while try flow.far.receive(within: 100) != nil {}
    marker.signal(SIGSTOP)
    for _ in 0..<20_000 { try flow.near.send([1]) }
    marker.signal(SIGCONT)
    var arrived = 0
    while try flow.far.receive(within: 1000) != nil { arrived += 1 }
    #expect(marker.stop() == 0, "\(marker.log)")
    let (overflowed, unsent) = (
      try #require(marker.count("overflowed")), try #require(marker.count("unsent"))
    )
    #expect(overflowed > 0 && arrived + overflowed + unsent == 20_000, "\(arrived), \(marker.log)")
    #expect(marker.log.contains("were lost: more came than could leave"))
  }

  /// Ports that go and come back.
  @Test func thePortReturns() throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path raw")
    let flow = try Conversation.udp(lab)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    try lab.box.shell("ip link set in0 nomaster")
    #expect(marker.waitForLog("packets pass unmarked"))
    try lab.box.shell("ip link set in0 master br0")
    #expect(try lab.sees(flow) { $0.isLabelled })
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  private static let refusals: [(setUp: String, options: String, reason: String)] = [
    ("true", "--inside in9 --outside out0", "there is no interface in9"),
    ("ip link set in0 nomaster", "--inside in0 --outside out0", "not ports of one bridge"),
    ("ip addr add 192.0.2.77/24 dev out0", "--inside in0 --outside out0", "out0 has an IP address"),
    ("ip link set out0 mtu 1400", "--inside in0 --outside out0", "in0 has MTU 1500 and out0 only 1400"),
    ("true", "--inside in0 --outside in0", "inside and outside are both in0"),
    ("true", "--inside in0", "inline.outside is missing"),
    (
      "ip link add pa type veth peer name pb", "--inside pa --outside pb", "two ends of one veth pair"
    ),
    ("true", "--inside in0 --outside out0 --interface br0", "have no place beside inline"),
    ("true", "--path raw --interface br0", "name them with --inside and --outside"),
    ("true", "--inside in0 --outside out0 --path tc", "raw and xdp"),
  ]

  @Test(arguments: 0..<10) func refused(number: Int) throws {
    let lab = try InlineLab()
    let (setUp, options, reason) = Self.refusals[number]
    try lab.box.shell(setUp)
    let path = options.contains("--path") ? "" : "--path raw"
    let error = #expect(throws: SystemError.self) {
      try MarkerProcess("\(options) \(path) --pipe PIPE --no-remote-fireflies", in: lab.box)
    }
    let told = error?.description ?? ""
    #expect(told.contains(reason), "\(told)")
  }

  /// The books of AF_XDP's frames are right after many packets.
  @Test func allFramesAreAccountedFor() throws {
    let lab = try InlineLab()
    let path = InlinePath(.xdp, maxFlows: 10)
    try lab.box.run { try path.open(InlinePair.find(inside: "in0", outside: "out0")) }
    let flow = try Conversation.udp(lab)
    var batch = ChangeBatch()
    batch.changes.append(
      ChangeBatch.Change(.mark, flow.key, Mark(label: FlowLabel(0x10044).map { LabelStamp($0, .kernel) })))
    path.apply(&batch)
    #expect(batch.changes[0].failure == nil)
    let counters = path.counters
    for round in 1...20 {
      for _ in 0..<5000 { try flow.near.send([1]) }
      var waits = 0
      while counters.received.load(ordering: .relaxed) + counters.overflowed.load(ordering: .relaxed) < round
        * 5000,
        waits < 1000
      {
        usleep(10_000)
        waits += 1
        path.updateCounters()
      }
    }
    for _ in 0..<200 where counters.sendingFrames.load(ordering: .relaxed) > 0 { usleep(10_000) }
    let free = counters.freeFrames.load(ordering: .relaxed)
    let receiving = counters.receivingFrames.load(ordering: .relaxed)
    #expect(counters.sendingFrames.load(ordering: .relaxed) == 0 && free + receiving == 4096)
    #expect(counters.frameFaults.load(ordering: .relaxed) == 0)
    #expect(counters.sent.load(ordering: .relaxed) == counters.received.load(ordering: .relaxed))
    path.close()
  }
}
