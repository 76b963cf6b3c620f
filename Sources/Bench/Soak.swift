import BenchReport
import Firefly
import Flow
import Glibc
import Lab
import Linux

/// Churn of all kinds under traffic, for minutes: what is lost, left unmarked or left behind.
///
/// The daemon is killed and restarted in the first half of the time only: the second half shows its memory.
func soak(minutes: Int) throws {
  print("soak, \(minutes) minutes")
  var isClean = true
  for path in ["tc", "nft"] {
    let soak = try Soak(path)
    try soak.run(for: Int64(minutes) * 60_000_000 / 2)
    isClean = try soak.judge() && isClean
  }
  if !isClean { throw SystemError("soak", "not all is as it should be", code: EPROTO) }
}

/// One daemon on one path, and what it is put through.
private final class Soak {
  private let path: String
  private let pair: VethPair
  private let ear: LabSocket
  private let capture: Capture
  private let ruled: LabSocket
  private var marker: MarkerProcess
  private let steady: [FlowKey]
  private let udp: LabSocket
  private let client: LabSocket
  private let server: LabSocket
  private var tally = SoakTally()
  /// Flows whose packets must all be marked from now on.
  private var tagged: Set<FlowKey>
  private var resident: [(seconds: Double, kilobytes: Double)] = []
  private var descriptors: [Int] = []
  private let began = MonotonicTime.now()
  /// The port that connections of a rule go to.
  private static let ruledPort: UInt16 = 2811
  private static let label: UInt32 = 0x10044

  init(_ path: String) throws {
    self.path = path
    pair = try VethPair()
    ear = try soakSocket(.udp, pair.far, VethPair.far6, 10514)
    try ear.set(SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    ruled = try soakSocket(.tcp, pair.far, VethPair.far6, Self.ruledPort)
    try ruled.listen()
    let far = try soakSocket(.udp, pair.far, VethPair.far6, 0)
    udp = try soakSocket(.udp, pair.near, VethPair.near6, 0)
    try udp.connect(to: far.local)
    let listener = try soakSocket(.tcp, pair.far, VethPair.far6, 0)
    try listener.listen()
    client = try soakSocket(.tcp, pair.near, VethPair.near6, 0)
    try client.connect(to: listener.local)
    server = try listener.accept()
    steady = [
      FlowKey(local: udp.local, remote: far.local, transport: .udp),
      FlowKey(local: client.local, remote: listener.local, transport: .tcp),
    ]
    marker = try Self.start(path, 0, pair)
    try marker.tell(steady.map { soakLine("start", $0) }.joined())
    try Self.waitForFlows(steady.count, marker, pair)
    tagged = Set(steady)
    capture = try Capture("far0", in: pair.far)
  }

  private static func configuration(_ round: Int, _ path: String) -> String {
    """
    interfaces: ["near*"]
    path: \(path)
    pipes: [PIPE]
    sockets: {cgroup: \(ProcessGroup.folder)}
    fireflies: {collectors: ["[\(VethPair.far6)]:10514"], remoteEnds: false, period: \(round % 2 == 0 ? "30s" : "20s")}
    listen: {fireflies: ["127.0.0.1:10514"]}
    rules: [{experiment: 2, activity: 17, remotePorts: [\(ruledPort)], protocol: tcp}]

    """
  }

  private static func start(_ path: String, _ round: Int, _ pair: VethPair) throws(SystemError)
    -> MarkerProcess
  {
    try MarkerProcess(
      "--config CONFIG --api API KEEP", configuration: configuration(round, path), in: pair.near)
  }

  // MARK: - What it is put through

  func run(for microseconds: Int64) throws {
    let blast = try Blast([udp])
    defer { blast.stop() }
    var round = 0
    while true {
      let elapsed = MonotonicTime.now().microseconds(since: began)
      if elapsed >= microseconds { break }
      round += 1
      if elapsed < microseconds / 2, round % 5 == 0 {
        _ = marker.stop(round % 4 == 0 ? SIGTERM : SIGKILL)
        marker = try Self.start(path, round, pair)
        tally.restarts += 1
      } else if round % 3 == 0 {
        try marker.configure(Self.configuration(round, path))
        tally.reloads += 1
      }
      try changeInterfaces(round)
      let flows = try sources(round) + sockets()
      try connections()
      try client.send([UInt8](repeating: 1, count: 3000))
      while try server.receive(within: 0) != nil {}
      try waitForEnds(of: flows)
      try readCapture()
      try Self.waitForFlows(steady.count, marker, pair)
      if elapsed >= microseconds / 2 {
        resident.append((Double(elapsed) / 1e6, Double(try marker.residentKilobytes)))
        descriptors.append(try marker.openDescriptors)
      }
      tally.rounds += 1
    }
  }

  private func changeInterfaces(_ round: Int) throws {
    try pair.near.shell(
      "ip link add near\(10 + round % 5) type veth peer name peer0 && ip link set near\(10 + round % 5) up")
    try pair.near.shell("ip link del near\(10 + round % 5)")
    tally.interfaces += 1
  }

  /// Flows without sockets, by each source that can tell of them.
  private func sources(_ round: Int) throws -> [FlowKey] {
    func keys(_ remote: UInt16) -> [FlowKey] {
      (0..<20).map {
        FlowKey(
          local: Endpoint(soakAddress(VethPair.near6), UInt16(1 + (round * 20 + $0) % 30_000)),
          remote: Endpoint(soakAddress(VethPair.far6), remote), transport: .udp)
      }
    }
    let (piped, asked, heard) = (keys(3001), keys(3002), keys(3003))
    try marker.tell(piped.map { soakLine("start", $0) + soakLine("end", $0) }.joined())
    _ = try ask("/v1/flows", asked)
    _ = try ask("/v1/flows/end", asked)
    let teller = try soakSocket(.udp, pair.near, "127.0.0.1", 0)
    for state in ["start", "end"] {
      for key in heard {
        try teller.send(
          Array(soakFirefly(state, key).utf8), to: Endpoint(soakAddress("127.0.0.1"), 10514))
      }
    }
    return piped + asked + heard
  }

  private func ask(_ route: String, _ keys: [FlowKey]) throws -> String {
    let body = keys.map {
      """
      {"protocol":"\($0.transport.name)","source":{"address":"\($0.local.address)","port":\($0.local.port)},\
      "destination":{"address":"\($0.remote.address)","port":\($0.remote.port)},"experiment":2,"activity":17}
      """
    }.joined(separator: ",")
    return try shell("curl -sS --fail --unix-socket \(marker.api) http://localhost\(route) -d '[\(body)]'")
  }

  /// Sockets that are tagged by the API: from its answer to the flow's end all their packets are marked.
  private func sockets() throws -> [FlowKey] {
    let remote = Endpoint(soakAddress(VethPair.far6), 3004)
    var made: [(socket: LabSocket, key: FlowKey)] = []
    for _ in 0..<5 {
      let socket = try soakSocket(.udp, pair.near, VethPair.near6, 0)
      try socket.connect(to: remote)
      made.append((socket, FlowKey(local: socket.local, remote: remote, transport: .udp)))
    }
    let keys = made.map(\.key)
    _ = try ask("/v1/flows", keys)
    for (socket, key) in made {
      tagged.insert(key)
      // Nobody listens there: what comes back as an error is not of interest.
      for _ in 0..<20 { _ = try? socket.send([1, 2, 3]) }
    }
    try readCapture()
    _ = try ask("/v1/flows/end", keys)
    for key in keys { tagged.remove(key) }
    return keys
  }

  /// Connections that a rule tags as they begin, and that last for a few packets. Their ports are the kernel's to choose,
  /// and it may choose one again: they are counted together.
  private func connections() throws {
    for _ in 0..<10 {
      let near = try soakSocket(.tcp, pair.near, VethPair.near6, 0)
      try near.connect(to: ruled.local)
      let far = try ruled.accept()
      try near.send([1, 2, 3])
      _ = try far.receive()
    }
    tally.connections += 10
  }

  // MARK: - What it must come to

  private func readCapture() throws {
    for frame in try capture.frames(quiet: 2) {
      let key = FlowKey(
        local: Endpoint(frame.source, frame.sourcePort),
        remote: Endpoint(frame.destination, frame.destinationPort),
        transport: frame.transport == 6 ? .tcp : .udp)
      let isMarked = frame.flowLabel & ~FlowLabel.entropyMask == Self.label
      if tagged.contains(key) {
        tally.packets += 1
        if !isMarked { tally.unmarked += 1 }
      } else if frame.transport == 6, frame.destinationPort == Self.ruledPort {
        tally.ruledPackets += 1
        if !isMarked { tally.ruledUnmarked += 1 }
      }
    }
    tally.uncaptured += Int(try capture.dropped())
  }

  /// A generous time; the fireflies of a flow are counted when its last is there.
  private func waitForEnds(of flows: [FlowKey]) throws {
    let begin = MonotonicTime.now()
    while flows.contains(where: { tally.ends[$0, default: 0] == 0 })
      || tally.ruledEnds < tally.connections
    {
      try readEar()
      if MonotonicTime.now().microseconds(since: begin) > 30_000_000 {
        let missing = flows.filter { tally.ends[$0, default: 0] == 0 }
        print(
          "  round \(tally.rounds + 1): no end after 30 s of \(missing.count) flows, "
            + "\(tally.connections - tally.ruledEnds) connections: \(missing.prefix(3))")
        tally.missing += missing.count + tally.connections - tally.ruledEnds
        tally.connections = tally.ruledEnds
        break
      }
    }
    for key in flows {
      if tally.starts.removeValue(forKey: key) != 1 { tally.wrongStarts += 1 }
      if tally.ends.removeValue(forKey: key) != 1 { tally.wrongEnds += 1 }
      tally.flows += 1
    }
  }

  private func readEar() throws {
    let names = ApplicationNames(own: "soak")
    var decoder = FireflyDecoder(applications: names)
    while let datagram = try ear.receive(within: 20) {
      let heard: ReceivedFirefly
      do throws(FireflyError) {
        heard = try decoder.decode(datagram.span)
      } catch {
        throw SystemError("not a firefly", "\(error)", code: EPROTO)
      }
      let key = FlowKey(
        local: heard.flow.source, remote: heard.flow.destination, transport: heard.flow.transport)
      let isRuled = key.remote.port == Self.ruledPort
      switch heard.state {
      case .start where isRuled: tally.ruledStarts += 1
      case .end where isRuled: tally.ruledEnds += 1
      case .start: tally.starts[key, default: 0] += 1
      case .end: tally.ends[key, default: 0] += 1
      case .ongoing: tally.ongoing += 1
      }
    }
  }

  private static func waitForFlows(_ count: Int, _ marker: MarkerProcess, _ pair: VethPair) throws {
    var status = ""
    for _ in 0..<300 {
      status = try shell("curl -sS --unix-socket \(marker.api) http://localhost/v1/status")
      if status.contains("\"flows\":\(count),") { return }
      usleep(100_000)
    }
    throw SystemError("the table does not come to \(count) flows", status, code: ETIMEDOUT)
  }

  /// Ends the daemon and prints the figures.
  ///
  /// - Returns: whether all are as they should be.
  func judge() throws -> Bool {
    try readCapture()
    try readEar()
    let status = try shell("curl -sS --unix-socket \(marker.api) http://localhost/v1/status")
    let refused = ["refusedFull", "refusedMarks"].filter { !status.contains("\"\($0)\":0") }
    let objects = try SoakObjects(ofProcessWith: marker.folder)
    _ = marker.stop()
    try pair.near.shell("\(MarkerProcess.binary) clean")
    let left = objects.left()
    let rules = try pair.near.shell("nft list ruleset").filter { !$0.isWhitespace }
    let filters = try pair.near.shell("tc filter show dev near0 egress").filter { !$0.isWhitespace }
    let growth = soakGrowth(resident)
    let growthLimit = 1024.0
    let starts = steady.map { tally.starts[$0, default: 0] }
    var isClean = true
    func line(_ what: String, _ figure: String, _ isRight: Bool, goal: String) {
      printLine("\(isRight ? "" : "WRONG: ")\(what)", figure, goal: goal)
      if !isRight { isClean = false }
    }
    print(
      "  path \(path): \(tally.rounds) rounds, \(tally.restarts) restarts, \(tally.reloads) reloads, "
        + "\(tally.interfaces) interfaces, \(tally.flows) flows, \(tally.connections) connections, "
        + "\(tally.ongoing) ongoing fireflies")
    line(
      "unmarked packets of tagged flows", "\(tally.unmarked) of \(tally.packets)", tally.unmarked == 0,
      goal: "0")
    // Only the tc path has an entry that a program can make before the SYN leaves.
    line(
      "unmarked packets of a rule's connections", "\(tally.ruledUnmarked) of \(tally.ruledPackets)",
      path != "tc" || tally.ruledUnmarked == 0, goal: path == "tc" ? "0" : "not on this path")
    line("packets that the capture lost", "\(tally.uncaptured)", tally.uncaptured == 0, goal: "0")
    line("flows without an end's firefly", "\(tally.missing)", tally.missing == 0, goal: "0")
    line(
      "flows with not exactly one start, one end", "\(tally.wrongStarts), \(tally.wrongEnds)",
      tally.wrongStarts + tally.wrongEnds == 0, goal: "0, 0")
    line(
      "starts and ends of a rule's connections", "\(tally.ruledStarts), \(tally.ruledEnds)",
      tally.ruledStarts == tally.connections && tally.ruledEnds == tally.connections,
      goal: "\(tally.connections)")
    line("starts told of the steady flows", "\(starts)", starts.allSatisfy { $0 == 1 }, goal: "[1, 1]")
    line("events refused", refused.isEmpty ? "0" : status, refused.isEmpty, goal: "0")
    line(
      "descriptors, first and last of the second half",
      "\(descriptors.first ?? 0), \(descriptors.last ?? 0)",
      (descriptors.last ?? 0) <= (descriptors.first ?? 0) + 2, goal: "the same")
    line(
      "memory's growth in the second half, by regression", "\(fixed(growth, 0)) kB", growth <= growthLimit,
      goal: "<= \(fixed(growthLimit, 0)) kB")
    line(
      "programs, maps and links left behind", "\(left) of \(objects.count)", left == 0 && objects.count > 0,
      goal: "0")
    line("nft rules and tc filters left behind", rules + filters, (rules + filters).isEmpty, goal: "none")
    return isClean
  }
}

/// What was counted.
private struct SoakTally {
  var (rounds, restarts, reloads, interfaces, flows) = (0, 0, 0, 0, 0)
  var (packets, unmarked, uncaptured, missing, wrongStarts, wrongEnds) = (0, 0, 0, 0, 0, 0)
  var (connections, ruledPackets, ruledUnmarked, ruledStarts, ruledEnds, ongoing) = (0, 0, 0, 0, 0, 0)
  var starts: [FlowKey: Int] = [:]
  var ends: [FlowKey: Int] = [:]
}
