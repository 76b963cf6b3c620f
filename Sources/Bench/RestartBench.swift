import Flow
import Glibc
import Lab
import Linux

/// Kills and restarts of the daemon under traffic: how many packets of tagged flows leave unmarked.
func benchRestart() throws {
  print("restart")
  for path in ["--path tc --tc-hook tcx", "--path tc --tc-hook clsact", "--path nft"] {
    let counts = try restarts(200, path)
    report(
      "200 random kills and restarts, \(path.dropFirst(7)): unmarked",
      "\(counts.unmarked) of \(counts.packets) packets", goal: "0")
    report(
      "  labels that changed; fireflies of starts told again", "\(counts.changed); \(counts.starts - 2)",
      goal: "0; 0")
    report("  from the start of the next daemon to ready", counts.ready.text("ms"))
  }
}

private struct RestartCounts {
  var packets = 0
  var unmarked = 0
  var changed = 0
  var starts = 0
  var ready = Figures()
}

private func restarts(_ rounds: Int, _ path: String) throws -> RestartCounts {
  let pair = try VethPair()
  let ear = try socket(.udp, pair.far, VethPair.far6, 10514)
  let far = try socket(.udp, pair.far, VethPair.far6, 0)
  let near = try socket(.udp, pair.near, VethPair.near6, 0)
  try near.connect(to: far.local)
  let listener = try socket(.tcp, pair.far, VethPair.far6, 0)
  try listener.listen()
  let client = try socket(.tcp, pair.near, VethPair.near6, 0)
  try client.connect(to: listener.local)
  let server = try listener.accept()
  let keys = [
    FlowKey(local: near.local, remote: far.local, transport: .udp),
    FlowKey(local: client.local, remote: listener.local, transport: .tcp),
  ]
  let lines = keys.map {
    "start \($0.transport.name) \($0.local.address) \($0.local.port) \($0.remote.address) \($0.remote.port) 2 17\n"
  }
  func start(_ round: Int) throws -> MarkerProcess {
    // Tables of another size are made anew.
    try MarkerProcess(
      "--interface near0 --pipe PIPE --no-remote-fireflies --collector [\(VethPair.far6)]:10514 KEEP \(path) "
        + "--max-flows \(1000 + round % 3)", in: pair.near)
  }

  var counts = RestartCounts()
  var marker = try start(0)
  try marker.tell(lines.joined())
  usleep(500_000)
  let capture = try Capture("far0", in: pair.far)
  let blast = try Blast([near])
  var labels: [FlowKey: Set<UInt32>] = [:]
  func count() throws {
    for frame in try capture.frames(quiet: 2) {
      for key in keys where frame.isOf(key) {
        counts.packets += 1
        if frame.flowLabel & ~FlowLabel.entropyMask != 0x10044 { counts.unmarked += 1 }
        labels[key, default: []].insert(frame.flowLabel)
      }
    }
  }
  for round in 1...rounds {
    usleep(UInt32.random(in: 0...40_000))
    try client.send([UInt8](repeating: 1, count: 3000))
    _ = marker.stop(round % 4 == 0 ? SIGTERM : SIGKILL)
    try client.send([UInt8](repeating: 1, count: 3000))
    let began = MonotonicTime.now()
    marker = try start(round)
    counts.ready.add(Double(MonotonicTime.now().microseconds(since: began)) / 1000)
    while try server.receive(within: 0) != nil {}
    try count()
  }
  blast.stop()
  try count()
  guard try capture.dropped() == 0 else { throw SystemError("the capture lost packets", code: ENOBUFS) }
  counts.changed = labels.values.map { $0.count - 1 }.reduce(0, +)
  while let datagram = try ear.receive(within: 200) {
    if String(decoding: datagram, as: UTF8.self).contains("\"state\":\"start\"") { counts.starts += 1 }
  }
  _ = marker.stop()
  try pair.near.shell("\(MarkerProcess.binary) clean")
  return counts
}

private func socket(
  _ transport: TransportProtocol, _ namespace: NetworkNamespace, _ address: String, _ port: UInt16
) throws -> LabSocket {
  guard let address = Address(address) else { throw SystemError("not an address", address, code: EINVAL) }
  return try LabSocket(transport, in: namespace, bound: Endpoint(address, port))
}

extension Frame {
  fileprivate func isOf(_ key: FlowKey) -> Bool {
    transport == key.transport.rawValue && source == key.local.address && sourcePort == key.local.port
      && destination == key.remote.address && destinationPort == key.remote.port
  }
}
