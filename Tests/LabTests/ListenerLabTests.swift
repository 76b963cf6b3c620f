import Flow
import Glibc
import Lab
import Linux
import Testing

private let near = VethPair.near6
private let far = VethPair.far6

/// Fireflies in, marks on the wire, fireflies out: judged from the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ListenerLabTests {
  private let base = "--interface near0 --pipe PIPE --no-remote-fireflies"
  private let open = "--listen [::]:10514 --listen-from 2001:db8::/64 --listen-from 192.0.2.0/24"
  private let collector = "--collector [\(VethPair.far6)]:20000"

  private func label(_ pair: VethPair, _ flow: Conversation) throws -> Bool {
    let capture = try Capture("far0", in: pair.far)
    try flow.near.send([1, 2, 3])
    return try capture.frames(quiet: 50).of(flow.key).map { $0.flowLabel & ~FlowLabel.entropyMask } == [
      0x30038
    ]
  }

  private func becomes(_ pair: VethPair, _ flow: Conversation, labelled: Bool) throws -> Bool {
    for _ in 0..<60 where try label(pair, flow) == labelled { return true }
    return false
  }

  /// Outbound: the announced source is local. Inbound: the announced destination is.
  @Test(arguments: Agent.allCases, [true, false])
  func fromAPeersFireflyToTheWireAndTheCollector(agent: Agent, outbound: Bool) throws {
    let pair = try VethPair()
    let ear = try Peer(pair, port: 20000)
    try pair.far.shell("ip addr add 2001:db8::77/64 dev far0 nodad")
    let peer = try Peer(pair, address: "2001:db8::77")
    let marker = try MarkerProcess("\(base) \(open) \(collector)", in: pair.near)
    let flow = try Conversation.udp(pair)
    let (source, destination) =
      outbound ? (flow.key.local, flow.key.remote) : (flow.key.remote, flow.key.local)
    try peer.send(agent.firefly("start", source, destination, "udp"))
    let start = try ear.heard()
    #expect(
      start.count == 1 && start.allSatisfy { $0.contains(#""state":"start""#) }, "\(start) \(marker.log)")
    // The order of the firefly is kept, because collectors recognise a flow by it.
    #expect(start.first?.contains(#""src-ip":"\#(source.address)""#) == true)
    #expect(start.first?.contains(#""experiment-id":3,"activity-id":14"#) == true)
    #expect(try label(pair, flow))
    try peer.send(agent.firefly("end", source, destination, "udp"))
    let end = try ear.heard()
    #expect(end.count == 1 && end.allSatisfy { $0.contains(#""state":"end""#) }, "\(end)")
    #expect(
      end.first?.contains(
        outbound ? #""usage":{"received":0,"sent":51}"# : #""usage":{"received":51,"sent":0}"#) == true,
      "\(end)")
    #expect(try !label(pair, flow))
    #expect(try peer.heard(quiet: 50).isEmpty, "nothing goes back to the sender")
    #expect(marker.stop() == 0)
  }

  @Test func whatIsNotHeardOrNotEntered() throws {
    let pair = try VethPair()
    let ear = try Peer(pair, port: 20000)
    try pair.far.shell("ip addr add 2001:db8:9::2/64 dev far0 nodad")
    try pair.near.shell("ip route add 2001:db8:9::/64 dev near0")
    let marker = try MarkerProcess("\(base) \(open) \(collector)", in: pair.near)
    let flow = try Conversation.udp(pair)
    let firefly = Agent.xrootd.firefly("start", flow.key.local, flow.key.remote, "udp")
    try Peer(pair, address: "2001:db8:9::2").send(firefly)
    #expect(marker.waitForLog("a firefly's sender is not in listen.from"))
    try pair.far.shell("ip addr add 2001:db8::77/64 dev far0 nodad")
    let peer = try Peer(pair, address: "2001:db8::77")
    let foreign = Endpoint(try Conversation.address("2001:db8:8::1"), 5)
    try peer.send(Agent.xrootd.firefly("start", flow.key.remote, foreign, "udp"))
    #expect(marker.waitForLog("a flow that has no end on this host"))
    try peer.send(firefly.replacing(#""src-port":\#(flow.key.local.port)"#, with: #""src-port":0"#))
    try peer.send(firefly.replacing(#""experiment-id":3"#, with: #""experiment-id":196664"#))
    #expect(marker.waitForLog("196664 is the flow label of cms/Analysis Input (206)"))
    try peer.send("\u{1b}[31mnonsense {\u{1}")
    #expect(marker.waitForLog(#"\u{1b}[31mnonsense"#))
    #expect(try ear.heard().isEmpty)
    #expect(try !label(pair, flow))
    try peer.send(firefly)
    #expect(try becomes(pair, flow, labelled: true), "and it goes on listening")
    #expect(marker.stop() == 0)
    for count in ["received=6", "taken=2", "notAllowed=1", "telemetry=1", "malformed=2"] {
      #expect(marker.log.contains(count), "\(count) in \(marker.log)")
    }
  }

  @Test func bothFamiliesAtOneSocketOrTwo() throws {
    for listen in ["--listen [::]:10514", "--listen [::]:10514 --listen 0.0.0.0:10514", "--listen 192.0.2.1"]
    {
      let pair = try VethPair()
      let marker = try MarkerProcess("\(base) \(listen) --listen-from 192.0.2.0/24", in: pair.near)
      let flow = try Conversation.udp(pair)
      try Peer(pair, address: VethPair.far4).send(
        Agent.dCache.firefly("start", flow.key.remote, flow.key.local, "udp"), to: VethPair.near4)
      #expect(try becomes(pair, flow, labelled: true), "\(listen): \(marker.log)")
      #expect(marker.stop() == 0)
    }
  }

  @Test func aFloodIsCutAndNothingElseSuffers() throws {
    let pair = try VethPair()
    try pair.near.shell("ip link set lo up")
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: """
        interfaces: [near0]
        pipes: [PIPE]
        fireflies: {remoteEnds: false}
        listen: {fireflies: "[::]:10514", from: "2001:db8::/64", rate: 50}
        """, in: pair.near)
    let peer = try Peer(pair)
    let flow = try Conversation.udp(pair)
    for number in 1...20_000 as ClosedRange<UInt16> {
      try peer.send(
        Agent.flowd.firefly("start", Endpoint(flow.key.local.address, number), flow.key.remote, "tcp"))
    }
    #expect(marker.waitForLog("a sender's fireflies exceed listen.rate"))
    try marker.tell(
      "start udp \(near) \(flow.key.local.port) \(far) \(flow.key.remote.port) 3 14\n")
    #expect(try becomes(pair, flow, labelled: true))
    #expect(marker.stop() == 0)
    let counts = marker.log.split(separator: "\n").last { $0.contains("fireflies heard") } ?? ""
    let taken = counts.split(separator: "taken=").last?.prefix { $0.isNumber }
    // A second's worth at once, and what the flood's time gave.
    #expect(Int(taken ?? "").map { (50..<2000).contains($0) } == true, "\(counts)")
    #expect(marker.log.split(separator: "\n").count < 60, "the log is not flooded")
  }

  @Test func relayedAsTheyCame() throws {
    let pair = try VethPair()
    let ear = try Peer(pair, port: 20000)
    let bare = try Peer(pair, port: 20001)
    try pair.far.shell("ip addr add 2001:db8::77/64 dev far0 nodad")
    let peer = try Peer(pair, port: 20000, address: "2001:db8::77")
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: """
        interfaces: [near0]
        pipes: [PIPE]
        fireflies:
          remoteEnds: false
          collectors: ["[\(far)]:20000", {host: "\(far)", port: 20001, format: bare}, "[2001:db8::77]:20000"]
        listen: {fireflies: "[::]:10514", from: "2001:db8::/64", relay: true}
        """, in: pair.near)
    let flow = try Conversation.udp(pair)
    for state in ["start", "end"] {
      for agent in Agent.allCases {
        let firefly = agent.firefly(state, flow.key.local, flow.key.remote, "udp")
        try peer.send(firefly + "\n")
        let heard = try ear.heard(quiet: 150)
        #expect(heard.count == 1, "\(agent) \(state): neither lost nor told twice: \(heard)")
        let received = heard.first ?? ""
        if [.flowdGo, .relayed].contains(agent) {
          #expect(
            received.hasPrefix("<134>1 20") && received.contains(" 2001:db8::77 marker - firefly-json - {"))
          #expect(Agent.json(received) == Agent.json(firefly))
        } else {
          #expect(received == firefly)
        }
        #expect(try bare.heard(quiet: 50) == [String(Agent.json(firefly))])
      }
      #expect(try label(pair, flow) == (state == "start"))
    }
    #expect(try peer.heard(quiet: 50).isEmpty, "the collector that sent them gets none back")
    // Port 0 is told on; what comes back is not.
    let telemetry = Agent.dCache.firefly("start", Endpoint(flow.key.local.address, 0), flow.key.remote, "udp")
    try peer.send(telemetry)
    #expect(try ear.heard(quiet: 150) == [telemetry])
    try Peer(pair, address: "2001:db8::2").send(telemetry)
    #expect(try ear.heard(quiet: 150).isEmpty && peer.heard(quiet: 50).isEmpty)
    // Flows of a source of this host are announced by the daemon itself, to all.
    try marker.tell("start udp \(near) 5 \(far) 6 3 14\n")
    #expect(try ear.heard(quiet: 150).count == 1 && peer.heard(quiet: 50).count == 1)
    #expect(marker.stop() == 0)
    #expect(marker.log.contains("echoes=1") && marker.log.contains("relayed=11"), "\(marker.log)")
  }

  /// Without relaying, a collector that sends fireflies gets none about their flows.
  @Test func aCollectorThatSendsIsNotToldOfItsOwn() throws {
    let pair = try VethPair()
    let ear = try Peer(pair, port: 20000)
    try pair.far.shell("ip addr add 2001:db8::77/64 dev far0 nodad")
    let peer = try Peer(pair, port: 20000, address: "2001:db8::77")
    let marker = try MarkerProcess(
      "\(base) \(open) \(collector) --collector [2001:db8::77]:20000", in: pair.near)
    try peer.send(
      Agent.dCache.firefly(
        "start", Endpoint(try Conversation.address(near), 7), Endpoint(try Conversation.address(far), 8),
        "tcp"))
    #expect(try ear.heard().count == 1 && peer.heard(quiet: 50).isEmpty)
    try marker.tell("start tcp \(near) 9 \(far) 10 3 14\n")
    #expect(try ear.heard().count == 1 && peer.heard(quiet: 50).count == 1)
  }

  /// The daemon's own fireflies to a remote end that is this host come to its own listener.
  @Test func itsOwnFirefliesGoNowhere() throws {
    let pair = try VethPair()
    try pair.near.shell("ip link set lo up; ip addr add 2001:db8::88/64 dev near0 nodad")
    let ear = try Peer(pair, port: 20000)
    let marker = try MarkerProcess(
      "--interface near0 --pipe PIPE \(open) \(collector) --relay", in: pair.near)
    for port in 1...50 {
      let line = "tcp \(near) \(port) 2001:db8::88 9 3 14\n"
      try marker.tell("start \(line)end \(line)start \(line)")
    }
    #expect(try ear.heard().count == 150)
    for port in 1...50 { try marker.tell("end tcp \(near) \(port) 2001:db8::88 9 3 14\n") }
    #expect(try ear.heard().count == 50, "each is told once, by its end")
    #expect(marker.stop() == 0)
    #expect(marker.log.contains("echoes=200") && marker.log.contains("taken=0"), "\(marker.log)")
  }

  /// Two hosts that listen, send to remote ends and know a flow only from each other.
  @Test func twoListenersDoNotTalkForEver() throws {
    let pair = try VethPair()
    let here = try MarkerProcess("--interface near0 --pipe PIPE \(open)", in: pair.near)
    let there = try MarkerProcess("--interface far0 --pipe PIPE \(open)", in: pair.far)
    for _ in 0..<30 {
      let line = "tcp \(near) 5 \(far) 6 3 14\n"
      try here.tell("start \(line)end \(line)start \(line)end \(line)")
    }
    usleep(300_000)
    let capture = try Capture("far0", in: pair.far)
    #expect(try capture.frames(quiet: 300).filter { $0.destinationPort == 10514 }.isEmpty)
    #expect(here.stop() == 0 && there.stop() == 0)
    #expect(here.log.contains("received=0 ") || here.log.hasSuffix("received=0\n"), "\(here.log)")
    #expect(there.log.contains("taken=120"), "\(there.log)")
  }

  @Test func reloadTakesOver() throws {
    let pair = try VethPair()
    let peer = try Peer(pair)
    let start = "interfaces: [near0]\npipes: [PIPE]\nfireflies: {remoteEnds: false}\n"
    func listen(_ addresses: String, _ networks: String = "2001:db8::/64") -> String {
      start + "listen: {fireflies: \(addresses), from: \"\(networks)\"}\n"
    }
    let marker = try MarkerProcess("--config CONFIG", configuration: start, in: pair.near)
    func hears(_ port: UInt16 = 10514) throws -> Bool {
      let flow = try Conversation.udp(pair)
      try peer.send(Agent.xrootd.firefly("start", flow.key.local, flow.key.remote, "udp"), port: port)
      usleep(100_000)
      return try label(pair, flow)
    }
    /// The listener's thread takes other sockets over at its next turn.
    func becomesDeaf() throws -> Bool {
      for _ in 0..<50 where try !hears() { return true }
      return false
    }
    #expect(try !hears())
    var steps = 0
    /// Each is told apart in the log by the number of reloads.
    func configure(_ text: String) throws {
      steps += 1
      try marker.configure(text)
      for _ in 0..<300 {
        let lines = marker.log.split(separator: "\n")
        if lines.filter({ $0.contains("configuration read again") || $0.contains("stays as it was") }).count
          >= steps
        {
          return
        }
        usleep(10_000)
      }
      Issue.record("no reload: \(marker.log)")
    }
    try configure(listen("\"[\(near)]:10514\""))
    #expect(try hears(), "\(marker.log)")
    // A wider address takes the narrower one's place.
    try configure(listen("\"[::]:10514\""))
    #expect(try hears(), "\(marker.log)")
    try configure(listen("\"[::]:10514\"", "2001:db8:5::/64"))
    #expect(try becomesDeaf())
    try configure(listen("[\"[::]:10514\", \"[::]:10515\"]"))
    #expect(try hears() && hears(10515))
    // An address that is not here: all stays.
    try configure(listen("\"[2001:db8:77::1]:10514\""))
    #expect(marker.log.contains("bind [2001:db8:77::1]:10514: Cannot assign requested address"))
    #expect(try hears() && hears(10515))
    try configure(start)
    #expect(try becomesDeaf())
    #expect(marker.stop() == 0)
  }

  @Test func anAddressInUseIsAnError() throws {
    let pair = try VethPair()
    let other = try LabSocket(
      .udp, in: pair.near, bound: Endpoint(try Conversation.address(VethPair.near4), 10514))
    let error = #expect(throws: SystemError.self) {
      try MarkerProcess("\(base) --listen 0.0.0.0:10514", in: pair.near)
    }
    #expect(error?.description.contains("Address already in use") == true, "\(String(describing: error))")
    withExtendedLifetime(other) {}
  }
}
