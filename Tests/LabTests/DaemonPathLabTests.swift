import Flow
import Glibc
import Lab
import Linux
import Testing

/// The daemon by each path and strategy, judged on the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct DaemonPathLabTests {
  private func start(_ options: String, _ pair: VethPair) throws -> MarkerProcess {
    try MarkerProcess("--interface near0 --pipe PIPE --no-remote-fireflies \(options)", in: pair.near)
  }

  private func tell(_ marker: MarkerProcess, _ state: String, _ flow: Conversation, _ tag: String = "2 17")
    throws
  {
    let (local, remote) = (flow.key.local, flow.key.remote)
    try marker.tell(
      "\(state) \(flow.key.transport.name) \(local.address) \(local.port) \(remote.address) \(remote.port) \(tag)\n"
    )
  }

  /// What the far side sees of a datagram; asked again until it is as wanted, because a pipe has no answer.
  private func sees(_ pair: VethPair, _ flow: Conversation, _ wanted: (Frame) -> Bool) throws -> Bool {
    for _ in 0..<40 {
      let capture = try Capture("far0", in: pair.far)
      try flow.near.send([1, 2, 3])
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if frames.count == 1, wanted(frames[0]) { return true }
    }
    return false
  }

  @Test(arguments: ["nft", "tc"]) func codePoints(path: String) throws {
    let pair = try VethPair()
    let marker = try start("--strategy dscp --path \(path)", pair)
    let ours = try Conversation.udp(pair, ipv4: true)
    let other = try Conversation.udp(pair, ipv4: true)
    let ipv6 = try Conversation.udp(pair)
    try tell(marker, "start", ours)
    try tell(marker, "start", ipv6)
    #expect(try sees(pair, ours) { $0.dscp == 11 && $0.checksumsAreRight == true })
    #expect(try sees(pair, other) { $0.trafficClass == 0 })
    #expect(try sees(pair, ipv6) { $0.trafficClass == 0 && $0.flowLabel & ~FlowLabel.entropyMask != 0x10044 })
    let capture = try Capture("far0", in: pair.far)
    for tos in [0, 1, 2, 3, 46 << 2, 46 << 2 | 1, 10 << 2 | 3] as [Int32] {
      try ours.near.set(Int32(IPPROTO_IP), Int32(IP_TOS), tos)
      try ours.near.send([1])
    }
    // Only where none was set; ECN as it was.
    let seen = try capture.frames().of(ours.key)
    #expect(seen.map(\.trafficClass) == [44, 45, 46, 47, 184, 185, 43])
    #expect(seen.allSatisfy { $0.checksumsAreRight == true })
    try tell(marker, "end", ours)
    try ours.near.set(Int32(IPPROTO_IP), Int32(IP_TOS), 0)
    #expect(try sees(pair, ours) { $0.trafficClass == 0 })
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("nft list tables") == "")
  }

  @Test(arguments: ["nft", "tc"]) func codePointsOnIPv6(path: String) throws {
    let pair = try VethPair()
    let marker = try start("--strategy dscp --dscp-ipv6 --path \(path)", pair)
    let ours = try Conversation.udp(pair)
    try ours.near.set(Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS), 2)
    let capture = try Capture("far0", in: pair.far)
    try ours.near.send([1])
    let label = try #require(try capture.frames().of(ours.key).first).flowLabel
    try tell(marker, "start", ours)
    #expect(try sees(pair, ours) { $0.trafficClass == 11 << 2 | 2 && $0.flowLabel == label })
  }

  @Test(arguments: ["nft", "tc"]) func aTransferByDSCP(path: String) throws {
    let pair = try VethPair()
    let marker = try start(
      "--strategy dscp --path \(path) --dscp-map 'cms/Analysis Input=33' --dscp-overwrite", pair)
    let ours = try Conversation.tcp(pair, ipv4: true)
    try tell(marker, "start", ours, "3 14")
    #expect(marker.waitForLog("msg=ready"))
    usleep(100_000)
    let capture = try Capture("far0", in: pair.far)
    try ours.transfer(2_000_000)
    let frames = try capture.frames()
    #expect(try capture.dropped() == 0)
    let marked = frames.of(ours.key)
    #expect(marked.count > 1300 && marked.allSatisfy { $0.dscp == 33 })
    #expect(frames.allSatisfy { $0.checksumsAreRight != false })
  }

  @Test(arguments: ["auto", "tc", "nft"]) func bothFamiliesAtOnce(path: String) throws {
    let pair = try VethPair()
    let marker = try start("--strategy auto --path \(path)", pair)
    let six = try Conversation.udp(pair)
    let four = try Conversation.udp(pair, ipv4: true)
    try tell(marker, "start", six)
    try tell(marker, "start", four)
    #expect(try sees(pair, six) { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 && $0.trafficClass == 0 })
    #expect(try sees(pair, four) { $0.dscp == 11 && $0.checksumsAreRight == true })
    // What sockets of TCP do not reach is tc's.
    #expect(try pair.near.shell("nft list tables").isEmpty == (path != "nft"))
    try tell(marker, "end", six)
    try tell(marker, "end", four)
    #expect(try sees(pair, four) { $0.trafficClass == 0 })
    #expect(try sees(pair, six) { $0.flowLabel & ~FlowLabel.entropyMask != 0x10044 })
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("nft list tables") == "")
  }

  @Test func theProbeSaysWhatWorksAndLeavesNothing() throws {
    let pair = try VethPair()
    let before = try pair.near.shell("ip link; nft list ruleset; tc qdisc")
    let text = try pair.near.shell("\(MarkerProcess.binary) probe")
    #expect(
      text.contains("IPv6: the flow label on IPv6 by sock, and by tc what that does not reach, else tc, nft"))
    #expect(text.contains("IPv4: a DSCP on IPv4 by sock, and by tc what that does not reach, else nft, tc"))
    #expect(try pair.near.shell("ip link; nft list ruleset; tc qdisc") == before)
    let json = try pair.near.shell(
      "\(MarkerProcess.binary) probe --json --strategy dscp | python3 -m json.tool")
    #expect(json.contains(#""path": "nft""#) && json.contains(#""ipv6": null"#))
  }

  @Test func aProbeWithoutRightsSaysWhatIsNeeded() throws {
    let error = #expect(throws: SystemError.self) {
      try shell(
        "setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all \(MarkerProcess.binary) probe"
      )
    }
    let text = error?.description ?? ""
    #expect(
      text.contains("CAP_SYS_ADMIN") && text.contains("CAP_NET_ADMIN") && text.contains("not in effect"),
      "\(text)")
  }

  @Test func labelsWithoutBPF() throws {
    let pair = try VethPair()
    let marker = try start("--path nft", pair)
    let ours = try Conversation.udp(pair)
    try tell(marker, "start", ours, "3 14")
    #expect(
      try sees(pair, ours) {
        $0.flowLabel & ~FlowLabel.entropyMask == 0x30038 && $0.checksumsAreRight == true
      })
    #expect(try pair.near.shell("nft list tables") == "table inet marker\n")
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("nft list tables") == "")
  }

  @Test func aFlushedRulesetIsBackWithinASecond() throws {
    let pair = try VethPair()
    let marker = try start("--strategy dscp --path nft", pair)
    let ours = try Conversation.udp(pair, ipv4: true)
    try tell(marker, "start", ours)
    #expect(try sees(pair, ours) { $0.dscp == 11 })
    try pair.near.shell("nft add table ip theirs && nft flush ruleset && nft add table ip theirs")
    usleep(1_000_000)
    let capture = try Capture("far0", in: pair.far)
    try ours.near.send([1])
    #expect(try capture.frames().of(ours.key).map(\.dscp) == [11])
    #expect(marker.waitForLog("somebody removed our nft rules; they are back"))
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("nft list tables") == "table ip theirs\n")
  }

  @Test func aTableThatAKilledDaemonLeftIsTakenOver() throws {
    let pair = try VethPair()
    let first = try start("--strategy dscp --path nft", pair)
    _ = first.stop(SIGKILL)
    #expect(try pair.near.shell("nft list tables") == "table inet marker\n")
    let second = try start("--strategy dscp --path nft", pair)
    let ours = try Conversation.udp(pair, ipv4: true)
    try tell(second, "start", ours)
    #expect(try sees(pair, ours) { $0.dscp == 11 })
    #expect(second.stop() == 0)
    #expect(try pair.near.shell("nft list tables") == "")
  }

  @Test func anExperimentWithoutACodePointIsAnnouncedOnly() throws {
    let pair = try VethPair()
    let marker = try start("--strategy dscp", pair)
    let ours = try Conversation.udp(pair, ipv4: true)
    // juno: 51 would be network control.
    try tell(marker, "start", ours, "juno default")
    #expect(marker.waitForLog("announced only"))
    #expect(try sees(pair, ours) { $0.trafficClass == 0 })
  }

  @Test(arguments: [
    ("--dscp-map 2=64 --strategy dscp", "is not a code point"),
    ("--dscp-map atals=3 --strategy dscp", "atals"),
    ("--dscp-preset pool3", "pool3"), ("--path tcp", "tcp"),
  ])
  func badOptions(options: String, says: String) throws {
    let pair = try VethPair()
    let error = #expect(throws: SystemError.self) { try start(options, pair) }
    #expect(error?.description.contains(says) == true, "\(String(describing: error))")
  }

  @Test func withNoPathTheFlowsAreStillAnnounced() throws {
    let pair = try VethPair()
    let collector = try LabSocket(
      .udp, in: pair.far, bound: Endpoint(try Conversation.address("2001:db8::2"), 10514))
    // Nobody may do anything: each path says why, and the daemon goes on.
    let output = try pair.near.shell(
      """
      folder=$(mktemp -d); chmod 777 $folder
      setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all \(MarkerProcess.binary) --api none --strategy dscp \
        --interface near0 --no-remote-fireflies --collector '[2001:db8::2]' --pipe $folder/pipe >$folder/log 2>&1 &
      until grep -q msg=ready $folder/log; do sleep 0.05; done
      echo 'start tcp 192.0.2.1 1 192.0.2.2 2 2 17' > $folder/pipe
      sleep 0.3; kill %1 2>/dev/null || kill $!; wait; cat $folder/log; rm -r $folder
      """)
    #expect(output.contains("no path works; packets are not marked"))
    #expect(output.contains("CAP_NET_ADMIN") && output.contains("CAP_BPF"), "\(output)")
    #expect(try collector.receive() != nil)
  }
}
