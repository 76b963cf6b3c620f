import Flow
import Glibc
import Lab
import Linux
import Testing

/// The daemon by a configuration file, judged on the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ConfigurationLabTests {
  private let base = "pipes: [PIPE]\nfireflies: {remoteEnds: false}\n"

  private func start(_ lines: String, _ pair: VethPair) throws -> MarkerProcess {
    try MarkerProcess("--config CONFIG", configuration: base + lines, in: pair.near)
  }

  private func line(_ flow: Conversation) -> String {
    let (local, remote) = (flow.key.local, flow.key.remote)
    return
      "start \(flow.key.transport.name) \(local.address) \(local.port) \(remote.address) \(remote.port) 2 17\n"
  }

  private func hasLabel(_ frame: Frame) -> Bool { frame.flowLabel & ~FlowLabel.entropyMask == 0x10044 }

  /// Waits until packets of a flow are as wanted.
  private func becomes(_ pair: VethPair, _ flow: Conversation, _ wanted: (Frame) -> Bool) throws -> Bool {
    for _ in 0..<60 {
      let capture = try Capture("far0", in: pair.far)
      try flow.near.send([1, 2, 3])
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if frames.count == 1, wanted(frames[0]) { return true }
    }
    return false
  }

  /// From one configuration to the next by SIGHUP, while packets leave all the time.
  @Test func reloadsWithoutAnUnmarkedPacket() throws {
    let pair = try VethPair()
    let marker = try start("interfaces: [near0]\n", pair)
    let six = try Conversation.udp(pair)
    let four = try Conversation.udp(pair, ipv4: true)
    try marker.tell(line(six) + line(four))
    #expect(try becomes(pair, six, hasLabel))
    let steps: [(lines: String, label: Bool, dscp: Bool, changed: String)] = [
      ("strategy: auto\n", true, true, "strategy"), ("strategy: auto\npath: nft\n", true, true, "path"),
      ("strategy: auto\npath: tc\nlabel: {entropy: flow}\n", true, true, "path label.entropy"),
      (
        "strategy: auto\npath: tc\nflows: {max: 5000, idleTimeout: 5m}\n", true, true,
        "flows.max flows.idleTimeout"
      ),
      ("strategy: auto\nlog: {level: debug}\nflows: {max: 5000}\n", true, true, "log.level"),
    ]
    var hadDSCP = false
    for step in steps {
      let capture = try Capture("far0", in: pair.far)
      let blast = try Blast([six.near, four.near])
      try marker.configure(base + "interfaces: ['near*']\n" + step.lines)
      #expect(marker.waitForLog(step.changed), "\(step.lines): \(marker.log)")
      blast.stop()
      let frames = try capture.frames()
      let labels = frames.of(six.key).map(hasLabel)
      let codePoints = frames.of(four.key).map { $0.dscp == 11 }
      #expect(labels.count >= 50 && codePoints.count >= 50)
      if step.label { #expect(!labels.contains(false), "\(step.lines): an unlabelled packet") }
      if hadDSCP, step.dscp { #expect(!codePoints.contains(false), "\(step.lines): a packet without DSCP") }
      #expect(labels.last == step.label && codePoints.last == step.dscp, "\(step.lines)")
      hadDSCP = step.dscp
    }
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("nft list tables; tc qdisc show dev near0 clsact") == "")
  }

  @Test func aWrongFileLeavesTheOldConfiguration() throws {
    let pair = try VethPair()
    let marker = try start("interfaces: [near0]\n", pair)
    let six = try Conversation.udp(pair)
    try marker.tell(line(six))
    #expect(try becomes(pair, six, hasLabel))
    for (lines, says) in [
      (
        "interfaces: [near0]\nstrategi: dscp\n",
        #":4:1: unknown key \"strategi\"; did you mean \"strategy\"?"#
      ),
      ("interfaces: [near0\n", "did not find expected ',' or ']'"),
      ("strategy: hopByHop\npath: nft\ninterfaces: [near0]\n", ":4:1: path: strategy hopByHop wants"),
      ("interfaces: [near0]\npipes: [/proc/self/environ]\n", "stands here twice"),
    ] {
      try marker.configure(base + lines)
      #expect(marker.waitForLog(says), "\(lines)\(marker.log)")
      #expect(marker.log.contains("the configuration stays as it was"))
      #expect(try becomes(pair, six, hasLabel))
    }
    // A pipe that cannot be had takes nothing else with it.
    try marker.configure("pipes: [PIPE, /proc/self/environ]\nstrategy: auto\ninterfaces: [near0]\n")
    #expect(marker.waitForLog("/proc/self/environ"))
    #expect(try becomes(pair, six, hasLabel))
    let four = try Conversation.udp(pair, ipv4: true)
    try marker.tell(line(four))
    #expect(try becomes(pair, four) { $0.dscp == 0 }, "nothing of a configuration that was refused")
    // And mended again.
    try marker.configure(base + "interfaces: [near0]\nstrategy: auto\n")
    #expect(try becomes(pair, four) { $0.dscp == 11 })
    #expect(marker.stop() == 0)
  }

  @Test func otherPipesAreReadFromNowOn() throws {
    let pair = try VethPair()
    let marker = try start("interfaces: [near0]\n", pair)
    try marker.configure("pipes: [PIPE, PIPE2]\nfireflies: {remoteEnds: false}\ninterfaces: [near0]\n")
    #expect(marker.waitForLog("pipe2"))
    let six = try Conversation.udp(pair)
    try shell("printf '\(line(six).dropLast())\\n' > \(marker.pipe)2")
    #expect(try becomes(pair, six, hasLabel))
  }

  /// A pipe is known by what its path leads to.
  @Test func theSamePipeByAnotherPathIsReadOn() throws {
    let pair = try VethPair()
    let marker = try start("interfaces: [near0]\n", pair)
    try shell("ln -s \(marker.pipe) \(marker.folder)/link")
    for path in ["link", "../$(basename FOLDER)/pipe"] {
      let path = path.replacing(
        "$(basename FOLDER)", with: marker.folder.split(separator: "/").last.map(String.init) ?? "")
      try marker.configure(
        "pipes: [\(marker.folder)/\(path)]\nfireflies: {remoteEnds: false}\ninterfaces: [near0]\n")
      #expect(marker.waitForLog("configuration read again"), "\(path): \(marker.log)")
      #expect(!marker.log.contains("stays as it was"), "\(path): \(marker.log)")
      let six = try Conversation.udp(pair)
      try marker.tell(line(six))
      #expect(try becomes(pair, six, hasLabel))
    }
    // The pipe is the daemon's, and goes with it.
    #expect(marker.stop() == 0)
    #expect(access(marker.pipe, F_OK) != 0)
  }

  /// What the OSG's perfSONAR helper writes, with this host's interface: every packet is marked, flows or not.
  @Test(arguments: ["tc", "nft"]) func perfsonarConfigurationOfFlowdGo(path: String) throws {
    let pair = try VethPair()
    let place = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    let text = try shell("cat '/\(place)/Fixtures/configs/osg-htc-perfsonar.yaml'")
      .replacing("[eth0, eth1]", with: "[near0]").replacing(
        "sendToCollector: true", with: "sendToCollector: false")
    let marker = try MarkerProcess("--config CONFIG --path \(path)", configuration: text, in: pair.near)
    let perfsonar: (Frame) -> Bool = { $0.flowLabel & ~FlowLabel.entropyMask == 0x10008 }
    let capture = try Capture("far0", in: pair.far)
    let tcp = try Conversation.tcp(pair)
    try tcp.transfer(200_000)
    let udp = try Conversation.udp(pair)
    try udp.near.send([1])
    let four = try Conversation.udp(pair, ipv4: true)
    try four.near.send([1])
    // An address that nobody has yet is asked for, by ICMPv6.
    let nobody = try LabSocket(.udp, in: pair.near, bound: Endpoint(tcp.key.local.address, 0))
    try nobody.connect(to: Endpoint(try Conversation.address("2001:db8::77"), 9))
    try nobody.send([1])
    let frames = try capture.frames()
    let leaving = frames.filter { $0.isIPv6 && $0.source == tcp.key.local.address }
    #expect(leaving.count > 20 && Set(leaving.map(\.transport)).isSuperset(of: [6, 17, 58]))
    #expect(leaving.allSatisfy(perfsonar))
    #expect(Set(leaving.map(\.flowLabel)).count > 1, "each flow keeps an entropy of its own")
    #expect(frames.of(four.key).allSatisfy { $0.trafficClass == 0 })
    // Without the plugin nothing is marked any more.
    try marker.configure(
      text.replacing(
        "perfsonar:\n    activityId: 2\n    experimentId: 2", with: "namedPipe: {pipePath: PIPE}"))
    #expect(try becomes(pair, udp) { !perfsonar($0) })
    try marker.tell(line(udp))
    #expect(try becomes(pair, udp, hasLabel))
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("nft list tables") == "")
  }

  @Test func anInterfaceOfTheFileMayComeLater() throws {
    let pair = try VethPair()
    let marker = try start("interfaces: [near9, near0]\n", pair)
    #expect(marker.log.contains("an interface is not here; marking on it begins when it comes"))
    let six = try Conversation.udp(pair)
    try marker.tell(line(six))
    #expect(try becomes(pair, six, hasLabel))
    try pair.near.shell("ip link add near9 type veth peer name peer9")
    #expect(marker.waitForLog("interface=near9 path=tc"))
    #expect(marker.stop() == 0)
  }

  /// A host that only announces needs no rights, and no path.
  @Test func withoutInterfacesFlowsAreAnnouncedOnly() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: "pipes: [PIPE]\nfireflies: {collectors: ['[\(VethPair.far6)]:10999']}\n",
      in: pair.near)
    let receiver = try LabSocket(
      .udp, in: pair.far, bound: Endpoint(try Conversation.address(VethPair.far6), 10999))
    let six = try Conversation.udp(pair)
    try marker.tell(line(six))
    let firefly = try #require(try receiver.receive(within: 3000))
    #expect(String(decoding: firefly, as: UTF8.self).contains("\"experiment-id\":2"))
    #expect(try becomes(pair, six) { !hasLabel($0) })
    #expect(marker.log.contains("no interface is named"))
    #expect(
      try pair.near.shell("bpftool net show dev near0 2>/dev/null | grep -c marker || true").hasPrefix("0"))
  }

  @Test func flagsWinOverTheFileAlsoAfterAReload() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(
      "--config CONFIG --strategy auto", configuration: base + "interfaces: [near0]\nstrategy: label\n",
      in: pair.near)
    let four = try Conversation.udp(pair, ipv4: true)
    try marker.tell(line(four))
    #expect(try becomes(pair, four) { $0.dscp == 11 })
    try marker.configure(base + "interfaces: [near0]\nstrategy: label\nflows: {max: 77}\n")
    #expect(marker.waitForLog("changed=flows.max"))
    #expect(try becomes(pair, four) { $0.dscp == 11 })
  }

  @Test func aHangupWithoutAFileChangesNothing() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess("--interface near0 --pipe PIPE --no-remote-fireflies", in: pair.near)
    try marker.configure("strategy: dscp\n")
    #expect(marker.waitForLog("configuration read again"))
    let six = try Conversation.udp(pair)
    try marker.tell(line(six))
    #expect(try becomes(pair, six, hasLabel))
  }

  @Test func theCommandsSayWhatIsConfigured() throws {
    let binary = MarkerProcess.binary
    let folder = try shell("mktemp -d").filter { $0 != "\n" }
    defer { _ = try? shell("rm -r \(folder)") }
    try shell("printf 'interfaces: [eth0]\\nstrategy: dscp\\n' > \(folder)/a.yaml")
    #expect(
      try shell("\(binary) check \(folder)/a.yaml | tail -1") == "\(folder)/a.yaml: right, with 4 warnings\n")
    let shown = try shell("\(binary) config show --config \(folder)/a.yaml --path tc 2>/dev/null")
    #expect(shown.contains("strategy: dscp") && shown.contains("# \(folder)/a.yaml:2"))
    #expect(shown.contains("path: tc") && shown.contains("# --path"))
    // What is shown is a configuration that means the same.
    try shell("\(binary) config show --config \(folder)/a.yaml --path tc 2>/dev/null > \(folder)/b.yaml")
    let again = try shell("\(binary) config show --config \(folder)/b.yaml 2>/dev/null | sed 's/ *#.*//'")
    #expect(try again == shell("sed 's/ *#.*//' \(folder)/b.yaml"))
    try shell("printf 'interfaces: [eth0]\\nstrategy: x\\n' > \(folder)/c.yaml")
    let error = #expect(throws: SystemError.self) { try shell("\(binary) check \(folder)/c.yaml 2>&1") }
    #expect(error?.description.contains("c.yaml:2:11: strategy: expected label") == true)
  }
}
