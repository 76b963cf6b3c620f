import BenchReport
import Flow
import Foundation
import Glibc
import Lab
import Linux

/// Kills, upgrades and reloads of the daemon under traffic: packets of tagged flows that leave unmarked, and what a
/// collector is told of flows that go on and of flows that end while nobody looks. Wrong lives are flows without exactly
/// one start and one end; misfits are starts, bytes or end times that do not fit.
func benchRestart(_ recorder: Recorder) throws {
  recorder.heading("kills, upgrades and reloads of the daemon under traffic")
  for path in ["--path tc --tc-hook tcx", "--path tc --tc-hook clsact", "--path nft"] {
    for kind in RestartKind.allCases {
      let counts = try RestartRun(kind, path).run()
      let what = "\(kind.rounds) \(kind.words), \(path.dropFirst(7))"
      try recorder.figure("\(what): packets", counts.packets, "", .more)
      try recorder.figure("\(what): unmarked", counts.unmarked, "", .less, goal: 0)
      try recorder.figure("\(what): labels changed", counts.changed, "", .less, goal: 0)
      try recorder.figure("\(what): flows", counts.flows, "", .more)
      try recorder.figure("\(what): wrong lives", counts.wrongLives, "", .less, goal: 0)
      try recorder.figure("\(what): misfits", counts.misfits, "", .less, goal: 0)
      if kind != .reload {
        try recorder.figure("\(what): next daemon's start to ready", counts.ready, "ms", .less)
      }
    }
  }
}

private enum RestartKind: CaseIterable {
  case kill, upgrade, reload

  var rounds: Int { self == .kill ? 200 : 50 }

  var words: String {
    switch self {
    case .kill: "random kills and restarts"
    case .upgrade: "upgrades"
    case .reload: "reloads"
    }
  }
}

private struct RestartCounts {
  var packets = 0
  var unmarked = 0
  var changed = 0
  var flows = 0
  var wrongLives = 0
  var misfits = 0
  var ready = Samples()
}

private final class RestartRun {
  private let kind: RestartKind
  private let path: String
  private let pair: VethPair
  private let near: LabSocket
  private let client: LabSocket
  private let server: LabSocket
  private let listener: LabSocket
  private let capture: Capture
  private let keys: [FlowKey]
  /// A copy of the daemon, which upgrades replace.
  private let binary: String
  private var tally: FireflyTally
  private var counts = RestartCounts()
  private var labels: [FlowKey: Set<UInt32>] = [:]
  /// When flows of a round ended, by their port: not before, and not after.
  private var ends: [UInt16: (earliest: Date, latest: Date)] = [:]

  init(_ kind: RestartKind, _ path: String) throws {
    self.kind = kind
    self.path = path
    pair = try VethPair()
    let ear = try socket(.udp, pair.far, VethPair.far6, 10514)
    try ear.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 64 << 20)
    tally = FireflyTally(ear)
    let far = try socket(.udp, pair.far, VethPair.far6, 0)
    near = try socket(.udp, pair.near, VethPair.near6, 0)
    try near.connect(to: far.local)
    listener = try socket(.tcp, pair.far, VethPair.far6, 0)
    try listener.listen()
    client = try socket(.tcp, pair.near, VethPair.near6, 0)
    try client.connect(to: listener.local)
    server = try listener.accept()
    keys = [
      FlowKey(local: near.local, remote: far.local, transport: .udp),
      FlowKey(local: client.local, remote: listener.local, transport: .tcp),
    ]
    binary = try shell("mktemp -d /tmp/marker-bench-XXXXXX").filter { $0 != "\n" } + "/marker"
    capture = try Capture("far0", in: pair.far)
  }

  deinit { _ = try? shell("rm -rf \(binary.dropLast("/marker".count))") }

  private func line(_ state: String, _ key: FlowKey) -> String {
    "\(state) \(key.transport.name) \(key.local.address) \(key.local.port) \(key.remote.address) "
      + "\(key.remote.port) 2 17\n"
  }

  /// Tables of another size are made anew.
  private func file(_ round: Int) -> String {
    """
    interfaces: [near0]
    path: \(path.contains("nft") ? "nft" : "tc")
    tc: {hook: \(path.contains("clsact") ? "clsact" : "auto")}
    pipes: [PIPE]
    fireflies: {collectors: ["[\(VethPair.far6)]:10514"], remoteEnds: false, period: 1s}
    flows: {max: \(1000 + round % 3)}
    """
  }

  private func start(_ round: Int) throws -> MarkerProcess {
    if kind == .upgrade || round == 0 {
      try shell("cp \(MarkerProcess.binary) \(binary).new && mv \(binary).new \(binary)")
    }
    return try MarkerProcess(
      "--config CONFIG KEEP", configuration: file(round), in: pair.near, binary: binary)
  }

  func run() throws -> RestartCounts {
    var daemon = try start(0)
    try daemon.tell(keys.map { line("start", $0) }.joined())
    usleep(500_000)
    _ = try capture.frames(quiet: 0)
    let blast = try Blast([near])
    for round in 1...kind.rounds {
      usleep(UInt32.random(in: 0...40_000))
      // The tally knows flows by this port: none may come twice.
      let short = try socket(.tcp, pair.near, VethPair.near6, UInt16(20_000 + round))
      try short.connect(to: listener.local)
      let other = try listener.accept()
      let key = FlowKey(local: short.local, remote: listener.local, transport: .tcp)
      try daemon.tell(line("start", key))
      try hear(until: { $0[key.local.port]?.starts ?? 0 > 0 })
      let before = Date()
      try client.send([UInt8](repeating: 1, count: 3000))
      if kind == .reload {
        for one in [short, other] { shutdown(one.descriptor.raw, Int32(SHUT_RDWR)) }
        try daemon.configure(file(round))
        while daemon.log.count(of: "configuration read again") < round {
          guard Date().timeIntervalSince(before) < 20 else {
            throw SystemError("no reload", daemon.log, code: ETIMEDOUT)
          }
          usleep(5000)
        }
      } else {
        _ = daemon.stop(kind == .upgrade || round % 4 == 0 ? SIGTERM : SIGKILL)
        for one in [short, other] { shutdown(one.descriptor.raw, Int32(SHUT_RDWR)) }
        try client.send([UInt8](repeating: 1, count: 3000))
        let began = MonotonicTime.now()
        daemon = try start(round)
        counts.ready.add(Double(MonotonicTime.now().microseconds(since: began)) / 1000)
      }
      while try server.receive(within: 0) != nil {}
      try hear(until: { $0[key.local.port]?.ends ?? 0 > 0 })
      // A daemon that found it gone knows when its predecessor last saw it.
      ends[key.local.port] = (before - 35, Date())
      try count()
    }
    blast.stop()
    try count()
    guard try capture.dropped() == 0 else { throw SystemError("the capture lost packets", code: ENOBUFS) }
    try daemon.tell(keys.map { line("end", $0) }.joined())
    let now = Date()
    for key in keys {
      try hear(until: { $0[key.local.port]?.ends ?? 0 > 0 })
      ends[key.local.port] = (now - 5, Date())
    }
    try tally.hear(quiet: 500)
    judge()
    _ = daemon.stop()
    try pair.near.shell("\(MarkerProcess.binary) clean")
    return counts
  }

  private func hear(until isDone: ([UInt16: FireflyTally.Told]) -> Bool) throws {
    for _ in 0..<2000 {
      try tally.hear(quiet: 5)
      if isDone(tally.flows) { return }
    }
  }

  private func count() throws {
    for frame in try capture.frames(quiet: 2) {
      for key in keys where frame.isOf(key) {
        counts.packets += 1
        if frame.flowLabel & ~FlowLabel.entropyMask != 0x10044 { counts.unmarked += 1 }
        labels[key, default: []].insert(frame.flowLabel)
      }
    }
  }

  private func judge() {
    counts.changed = labels.values.map { $0.count - 1 }.reduce(0, +)
    counts.flows = tally.flows.count
    for (port, told) in tally.flows {
      if told.starts != 1 || told.ends != 1 { counts.wrongLives += 1 }
      guard let (earliest, latest) = ends[port], let end = told.endTime, (earliest...latest).contains(end),
        !told.fallsBack, !told.hasOtherStart
      else {
        counts.misfits += 1
        continue
      }
    }
  }
}

private func socket(
  _ transport: TransportProtocol, _ namespace: NetworkNamespace, _ address: String, _ port: UInt16
) throws -> LabSocket {
  guard let address = Address(address) else { throw SystemError("not an address", address, code: EINVAL) }
  return try LabSocket(transport, in: namespace, bound: Endpoint(address, port))
}

extension String {
  fileprivate func count(of part: String) -> Int {
    split(separator: part, omittingEmptySubsequences: false).count - 1
  }
}

extension Frame {
  fileprivate func isOf(_ key: FlowKey) -> Bool {
    transport == key.transport.rawValue && source == key.local.address && sourcePort == key.local.port
      && destination == key.remote.address && destinationPort == key.remote.port
  }
}
