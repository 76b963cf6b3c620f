import Flow
import Glibc
import Lab
import Linux
import Testing

/// The daemon with strategies that insert extension headers, judged on the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct DaemonHeaderLabTests {
  private func start(_ options: String, _ pair: VethPair) throws -> MarkerProcess {
    try MarkerProcess("--interface near0 --pipe PIPE --no-remote-fireflies \(options)", in: pair.near)
  }

  private func tell(_ marker: MarkerProcess, _ state: String, _ flow: Conversation) throws {
    let (local, remote) = (flow.key.local, flow.key.remote)
    try marker.tell(
      "\(state) \(flow.key.transport.name) \(local.address) \(local.port) \(remote.address) \(remote.port) 1023 17\n"
    )
  }

  /// What the far side sees of a datagram; asked again until it is as wanted, because a pipe has no answer.
  private func sees(
    _ pair: VethPair, _ flow: Conversation, size: Int = 3, _ wanted: (Frame) -> Bool
  ) throws -> Bool {
    for _ in 0..<40 {
      let capture = try Capture("far0", in: pair.far)
      try flow.near.send([UInt8](repeating: 1, count: size))
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if frames.count == 1, frames[0].checksumsAreRight == true, wanted(frames[0]) { return true }
    }
    return false
  }

  /// Experiment 1023, activity 17, in front of another header.
  private func header(_ type: UInt8, next: UInt8) -> Frame.OptionHeader {
    Frame.OptionHeader(type: type, bytes: [next, 0, 0x1e, 3, 0x03, 0xff, 0x11, 0])
  }

  @Test(arguments: ["hopByHop", "destination", "hopByHopDestination"], ["tcx", "clsact"])
  func headers(strategy: String, hook: String) throws {
    let pair = try VethPair()
    let marker = try start("--strategy \(strategy) --tc-hook \(hook)", pair)
    let udp = try Conversation.udp(pair)
    let tcp = try Conversation.tcp(pair)
    let other = try Conversation.udp(pair)
    let ipv4 = try Conversation.udp(pair, ipv4: true)
    func want(_ transport: UInt8) -> [Frame.OptionHeader] {
      switch strategy {
      case "hopByHop": [header(0, next: transport)]
      case "destination": [header(60, next: transport)]
      default: [header(0, next: 60), header(60, next: transport)]
      }
    }
    for flow in [udp, tcp, ipv4] { try tell(marker, "start", flow) }
    #expect(try sees(pair, udp) { $0.optionHeaders == want(17) })
    #expect(try udp.far.receive() == [1, 1, 1])
    #expect(try sees(pair, other) { $0.optionHeaders.isEmpty })
    #expect(try sees(pair, ipv4) { !$0.isIPv6 && $0.trafficClass == 0 })
    let capture = try Capture("far0", in: pair.far)
    try tcp.compare(500_000)
    let sent = try capture.frames().of(tcp.key)
    #expect(sent.contains { $0.optionHeaders == want(6) } && sent.allSatisfy { $0.checksumsAreRight == true })
    #expect(sent.allSatisfy { $0.end - $0.networkOffset <= 1500 })
    try tell(marker, "end", udp)
    #expect(try sees(pair, udp) { $0.optionHeaders.isEmpty })
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("tc filter show dev near0 egress") == "")
  }

  @Test func theMTUIsFollowed() throws {
    let pair = try VethPair(mtu: 2000)
    let marker = try start("--strategy destination", pair)
    let ours = try Conversation.udp(pair)
    try tell(marker, "start", ours)
    #expect(try sees(pair, ours, size: 1440) { !$0.optionHeaders.isEmpty })
    #expect(try sees(pair, ours, size: 1452) { !$0.optionHeaders.isEmpty })
    try pair.near.shell("ip link set near0 mtu 1500")
    #expect(try sees(pair, ours, size: 1452) { $0.optionHeaders.isEmpty })
    #expect(try sees(pair, ours, size: 1440) { !$0.optionHeaders.isEmpty })
    #expect(marker.stop() == 0)
    #expect(marker.log.contains("left unmarked, as they came"))
  }

  @Test func nftSaysThatItCannot() throws {
    let pair = try VethPair()
    let error = #expect(throws: SystemError.self) { try start("--strategy hopByHop --path nft", pair) }
    #expect(error?.description.contains("cannot insert an extension header") == true)
  }

  /// A filter that a killed daemon left, of whichever strategy, would go on marking.
  @Test func anotherStrategyAfterACrash() throws {
    let pair = try VethPair()
    let first = try start("--strategy label --tc-hook clsact", pair)
    let ours = try Conversation.udp(pair)
    try tell(first, "start", ours)
    #expect(try sees(pair, ours) { $0.flowLabel & ~FlowLabel.entropyMask != 0 })
    _ = first.stop(SIGKILL)
    let second = try start("--strategy destination --tc-hook clsact", pair)
    #expect(
      try pair.near.shell("tc filter show dev near0 egress | grep -c handle").filter(\.isNumber) == "1")
    try tell(second, "start", ours)
    #expect(try sees(pair, ours) { $0.optionHeaders == [header(60, next: 17)] })
    #expect(second.stop() == 0)
    #expect(try pair.near.shell("tc filter show dev near0 egress") == "")
  }

  @Test func theProbeTriesThem() throws {
    let text = try shell("\(MarkerProcess.binary) probe --strategy hopByHopDestination")
    for words in ["hop-by-hop options", "destination options", "hop-by-hop and destination options"] {
      #expect(text.contains("tc by tcx: \(words) on IPv6") && text.contains("tc by clsact: \(words) on IPv6"))
    }
    #expect(text.contains("IPv6: hop-by-hop and destination options on IPv6 by tc (tcx)"), "\(text)")
  }
}
