import Flow
import Foundation
import Glibc
import Lab
import Linux
import Testing

/// Daemons that follow each other in one namespace.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct RestartLabTests {
  private static let tag: UInt32 = 0x10044

  private func start(_ pair: VethPair, _ options: String, keeps: Bool = true) throws(SystemError)
    -> MarkerProcess
  {
    try MarkerProcess(
      "--interface near0 --pipe PIPE --api API --collector [\(VethPair.far6)]:10514 --no-remote-fireflies "
        + "\(options) \(keeps ? "KEEP" : "")", in: pair.near)
  }

  private func line(_ state: String, _ key: FlowKey) -> String {
    "\(state) \(key.transport.name) \(key.local.address) \(key.local.port) \(key.remote.address) "
      + "\(key.remote.port) 2 17\n"
  }

  private func labels(_ frames: [Frame], _ key: FlowKey) -> [UInt32] {
    frames.of(key).map { $0.flowLabel & ~FlowLabel.entropyMask }
  }

  private func isMarked(_ pair: VethPair, _ flow: Conversation) throws -> Bool {
    let capture = try Capture("far0", in: pair.far)
    try flow.near.send([1])
    return labels(try capture.frames(quiet: 50), flow.key) == [Self.tag]
  }

  private func waitUntilMarked(_ pair: VethPair, _ flow: Conversation) throws {
    try wait(pair, flow, isMarked: true)
  }

  /// A pipe has no answer.
  private func wait(_ pair: VethPair, _ flow: Conversation, isMarked wanted: Bool) throws {
    for _ in 0..<200 {
      if try isMarked(pair, flow) == wanted { return }
      usleep(20_000)
    }
  }

  private func clean(_ pair: VethPair) throws -> String {
    try pair.near.shell("\(MarkerProcess.binary) clean")
  }

  @Test(arguments: [
    "--path tc --tc-hook tcx", "--path tc --tc-hook clsact", "--path nft", "--path nft --entropy flow",
  ])
  func noPacketIsUnmarkedHoweverTheDaemonEnds(path: String) throws {
    let pair = try VethPair()
    let (udp, tcp) = (try Conversation.udp(pair), try Conversation.tcp(pair))
    var marker = try start(pair, path)
    try marker.tell(line("start", udp.key) + line("start", tcp.key))
    try waitUntilMarked(pair, tcp)
    let capture = try Capture("far0", in: pair.far)
    let blast = try Blast([udp.near])
    for signal in [SIGKILL, SIGTERM, SIGKILL, SIGKILL] {
      try tcp.near.send([1, 2, 3])
      _ = marker.stop(signal)
      try tcp.near.send([4, 5])
      marker = try start(pair, path)
      #expect(
        marker.log.contains("flows=2") && marker.log.contains("going on with the flows"), "\(marker.log)")
    }
    blast.stop()
    try tcp.near.send([6])
    let frames = try capture.frames()
    #expect(try capture.dropped() == 0)
    #expect(labels(frames, udp.key).count > 100 && labels(frames, tcp.key).count >= 9)
    #expect(labels(frames, udp.key).allSatisfy { $0 == Self.tag })
    #expect(labels(frames, tcp.key).allSatisfy { $0 == Self.tag })
    // The label of a flow does not change either.
    #expect(Set(frames.of(udp.key).map(\.flowLabel)).count == 1)
    #expect(Set(frames.of(tcp.key).map(\.flowLabel)).count == 1)

    try marker.tell(line("end", udp.key))
    try wait(pair, udp, isMarked: false)
    #expect(try !isMarked(pair, udp) && isMarked(pair, tcp))
    #expect(marker.stop() == 0)
    #expect(try isMarked(pair, tcp), "marks stay for the next one")
    let cleaned = try clean(pair)
    #expect(cleaned.hasPrefix("removed: "), "\(cleaned)")
    #expect(try !isMarked(pair, tcp))
    #expect(try clean(pair) == "nothing of marker's is here\n")
    #expect(try pair.near.shell("nft list tables") == "")
  }

  /// A firefly's state, ports, start and bytes.
  private struct Told: Equatable {
    let state: String
    let port: UInt16
    let start: String
    let end: String?
    let sent: Int?

    init(_ text: String) throws {
      let json = try #require(
        try JSONSerialization.jsonObject(with: Data(text.drop { $0 != "{" }.utf8)) as? [String: Any])
      func part(_ name: String) -> [String: Any] { json[name] as? [String: Any] ?? [:] }
      let life = part("flow-lifecycle")
      state = try #require(life["state"] as? String)
      start = try #require(life["start-time"] as? String)
      end = life["end-time"] as? String
      port = UInt16(try #require(part("flow-id")["src-port"] as? Int))
      sent = part("usage")["sent"] as? Int
    }
  }

  /// A hundred times a hundred bytes, which are read.
  private func send(_ flow: Conversation) throws {
    for _ in 0..<100 {
      try flow.near.send([UInt8](repeating: 7, count: 100))
      _ = try flow.far.receive(within: 100)
    }
  }

  @Test(arguments: ["--path tc", "--path nft"]) func everyFlowHasOneStartAndOneEnd(path: String) throws {
    let pair = try VethPair()
    let ear = try Peer(pair, port: 10514)
    let flows = [try Conversation.tcp(pair), try Conversation.tcp(pair), try Conversation.udp(pair)]
    var marker = try start(pair, path)
    try marker.tell(flows.map { line("start", $0.key) }.joined())
    var told = try ear.heard().map { try Told($0) }
    #expect(told.map(\.state) == ["start", "start", "start"])
    for flow in flows { try send(flow) }

    _ = marker.stop(SIGKILL)
    // One ends while nobody looks.
    shutdown(flows[0].near.descriptor.raw, Int32(SHUT_RDWR))
    shutdown(flows[0].far.descriptor.raw, Int32(SHUT_RDWR))
    for flow in flows[1...] { try send(flow) }
    marker = try start(pair, path)
    for _ in 0..<50 where told.count < 4 { told += try ear.heard().map { try Told($0) } }
    #expect(told.count == 4 && told[3].state == "end" && told[3].port == flows[0].key.local.port)

    _ = marker.stop(SIGTERM)
    marker = try start(pair, path)
    for flow in flows[1...] { try send(flow) }
    try marker.tell(flows[1...].map { line("end", $0.key) }.joined())
    told += try ear.heard().map { try Told($0) }
    #expect(told.map(\.state) == ["start", "start", "start", "end", "end", "end"])
    for flow in flows {
      let own = told.filter { $0.port == flow.key.local.port }
      #expect(own.map(\.state) == ["start", "end"] && own[0].start == own[1].start && own[1].end != nil)
    }
    let tcp = try #require(told.first { $0.state == "end" && $0.port == flows[1].key.local.port }?.sent)
    // Acknowledged bytes; the kernel counts the SYN too.
    #expect((30_000...30_001).contains(tcp))
    // Of IP packets, from the IP header on.
    let udp = try #require(told.first { $0.state == "end" && $0.port == flows[2].key.local.port }?.sent)
    #expect(udp == 300 * 148)
    #expect(marker.stop() == 0)
    _ = try clean(pair)
  }

  @Test func withoutBPFFlowsAreKeptInNFTables() throws {
    let pair = try VethPair()
    let ear = try Peer(pair, port: 10514)
    let flow = try Conversation.udp(pair)
    func confined() throws -> MarkerProcess {
      try refusingBPF(with: EPERM) { () throws(SystemError) in try start(pair, "--strategy auto") }
    }
    var marker = try confined()
    try marker.tell(line("start", flow.key))
    try waitUntilMarked(pair, flow)
    // It comes back, with what it held.
    try pair.near.shell("nft flush ruleset")
    try waitUntilMarked(pair, flow)
    try marker.tell("start udp 192.0.2.1 7 192.0.2.2 8 cms \"Analysis Input\"\n")
    var told = try ear.heard().map { try Told($0) }
    #expect(told.map(\.state) == ["start", "start"])
    let listing = try pair.near.shell("nft list table inet marker_memory")
    #expect(listing.contains("comment \"v1 145 ") && listing.contains("comment \"v1 206 "), "\(listing)")
    try pair.near.shell("nft -c -f - <<'EOF'\n\(listing)\nEOF")

    let capture = try Capture("far0", in: pair.far)
    let blast = try Blast([flow.near])
    for signal in [SIGKILL, SIGTERM] {
      _ = marker.stop(signal)
      marker = try confined()
      #expect(marker.log.contains("flows=2"), "\(marker.log)")
    }
    blast.stop()
    let frames = try capture.frames()
    #expect(labels(frames, flow.key).count > 100)
    #expect(labels(frames, flow.key).filter { $0 != Self.tag }.count == 0)
    try marker.tell(line("end", flow.key) + "end udp 192.0.2.1 7 192.0.2.2 8 cms \"Analysis Input\"\n")
    told += try ear.heard().map { try Told($0) }
    #expect(told.map(\.state) == ["start", "start", "end", "end"])
    #expect(Set(told.map(\.start)).count == 2)
    // BPF was given to it meanwhile: what was kept elsewhere is not lost.
    try marker.tell(line("start", flow.key))
    try waitUntilMarked(pair, flow)
    #expect(marker.stop() == 0)
    marker = try start(pair, "--strategy auto")
    #expect(marker.log.contains("flows=1"), "\(marker.log)")
    #expect(try isMarked(pair, flow), "\(marker.log)")
    #expect(marker.stop() == 0)
    #expect(try clean(pair).hasPrefix("removed: "))
    #expect(try pair.near.shell("nft list tables") == "")
  }

  @Test func aSecondDaemonIsRefusedAndADeadOneIsNoObstacle() throws {
    let pair = try VethPair()
    let first = try start(pair, "", keeps: false)
    let second = #expect(throws: SystemError.self) { try start(pair, "", keeps: false) }
    #expect(second?.description.contains("a daemon runs here already, process ") == true)
    let refused = #expect(throws: SystemError.self) { try clean(pair) }
    #expect(refused?.description.contains("a daemon runs here already") == true)
    _ = first.stop(SIGKILL)
    #expect(try start(pair, "", keeps: false).stop() == 0)
  }

  @Test func aDaemonThatKeepsNothingTakesOverAndCleansUp() throws {
    let pair = try VethPair()
    let flow = try Conversation.udp(pair)
    let first = try start(pair, "--path tc")
    try first.tell(line("start", flow.key))
    try waitUntilMarked(pair, flow)
    _ = first.stop(SIGKILL)
    let second = try start(pair, "--path nft", keeps: false)
    #expect(try isMarked(pair, flow))
    #expect(second.stop() == 0)
    #expect(try !isMarked(pair, flow))
    #expect(try clean(pair) == "nothing of marker's is here\n")
  }

  /// What cannot be had at a start leaves the marks of the daemon before; without one nothing stays behind.
  @Test(arguments: ["--path tc", "--path tc --tc-hook clsact", "--path nft"])
  func aStartThatFailsChangesNothing(path: String) throws {
    let pair = try VethPair()
    let flow = try Conversation.udp(pair)
    let failing = [
      "\(path) --pipe /proc/version", "\(path) --api /proc/api", "\(path) --listen 198.51.100.1:7",
      "--path tc --interface lo --tc-hook nonsense",
    ]
    for options in failing {
      #expect(throws: SystemError.self) { try start(pair, options) }
      #expect(try clean(pair) == "nothing of marker's is here\n", "\(options)")
    }
    let first = try start(pair, path)
    try first.tell(line("start", flow.key))
    try waitUntilMarked(pair, flow)
    _ = first.stop(SIGKILL)
    for options in failing {
      #expect(throws: SystemError.self) { try start(pair, options) }
      #expect(try isMarked(pair, flow), "\(options)")
    }
    let last = try start(pair, path)
    #expect(last.log.contains("flows=1"))
    #expect(last.stop() == 0)
    _ = try clean(pair)
  }

  @Test(arguments: ["tc", "nft"]) func marksThatNobodyTakesOverEnd(path: String) throws {
    let pair = try VethPair()
    let flow = try Conversation.udp(pair)
    let marker = try MarkerProcess(
      "--config CONFIG KEEP",
      configuration: """
        interfaces: [near0]
        path: \(path)
        pipes: [PIPE]
        restart: {graceTime: 5}
        """, in: pair.near)
    try marker.tell(line("start", flow.key))
    try waitUntilMarked(pair, flow)
    #expect(marker.stop() == 0)
    #expect(try isMarked(pair, flow))
    try wait(pair, flow, isMarked: false)
    #expect(try !isMarked(pair, flow))
    // The next one goes on, and its marks stay.
    let next = try start(pair, "--path \(path)")
    #expect(try isMarked(pair, flow))
    #expect(next.stop() == 0)
    _ = try clean(pair)
  }

  @Test(arguments: ["tcx", "clsact"]) func anInterfaceThatIsDeselectedIsLeft(hook: String) throws {
    let pair = try VethPair()
    let flow = try Conversation.udp(pair)
    func file(_ interface: String) -> String {
      "interfaces: [\(interface)]\npath: tc\ntc: {hook: \(hook)}\npipes: [PIPE]\n"
    }
    let marker = try MarkerProcess("--config CONFIG KEEP", configuration: file("near0"), in: pair.near)
    try marker.tell(line("start", flow.key))
    try waitUntilMarked(pair, flow)
    try marker.configure(file("lo"))
    #expect(marker.waitForLog("configuration read again"))
    #expect(try !isMarked(pair, flow))
    try marker.configure(file("near0"))
    try waitUntilMarked(pair, flow)
    _ = marker.stop(SIGKILL)
    #expect(try isMarked(pair, flow))
    _ = try clean(pair)
  }

  @Test func otherSizesAndInterfacesAreTakenOver() throws {
    let pair = try VethPair()
    let flow = try Conversation.udp(pair)
    try pair.near.shell("ip link add other0 type veth peer name other1 && ip link set other0 up")
    let first = try start(pair, "--path tc --interface other0 --max-flows 5000")
    try first.tell(line("start", flow.key))
    try waitUntilMarked(pair, flow)
    #expect(first.stop() == 0)
    let second = try start(pair, "--path tc --max-flows 1000")
    #expect(try isMarked(pair, flow))
    #expect(second.stop(SIGKILL) == nil)
    let third = try start(pair, "--path tc --max-flows 7000")
    #expect(try isMarked(pair, flow))
    #expect(third.stop() == 0)
    #expect(try clean(pair).contains("1 tcx link,"))
  }

  @Test(arguments: ["--path tc", "--path nft"]) func everyPacketOfAMarkedHostStaysMarked(path: String) throws
  {
    let pair = try VethPair()
    let flow = try Conversation.udp(pair)
    var marker = try start(pair, "\(path) --mark-all atlas/perfsonar")
    let capture = try Capture("far0", in: pair.far)
    let blast = try Blast([flow.near])
    for signal in [SIGKILL, SIGTERM] {
      _ = marker.stop(signal)
      marker = try start(pair, "\(path) --mark-all atlas/perfsonar")
    }
    blast.stop()
    let frames = try capture.frames()
    let expected = try #require(FlowLabel(SciTag(experiment: 2, activity: 2))).value
    #expect(labels(frames, flow.key).count > 100)
    let wrong = labels(frames, flow.key).filter { $0 != expected }
    #expect(wrong.count == 0, "of \(frames.count): \(wrong.prefix(3))")
    #expect(marker.stop() == 0)
    _ = try clean(pair)
  }
}
