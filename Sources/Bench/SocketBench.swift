import BenchReport
import Flow
import Glibc
import Lab
import Linux

private let far = Address(high: 0x2001_0db8 << 32, low: 2)

/// What it costs to look at sockets, and the daemon that watches very many.
func benchSockets(_ recorder: Recorder) throws {
  try benchShortConnections(recorder)
  recorder.heading("50,000 idle flows with TCP sockets")
  let count = 50_000
  let pair = try VethPair()
  let connections = try Connections(pair, count)
  try benchDumps(recorder, pair, connections.keys)
  // Without anybody at its port each firefly would be answered by an ICMP error.
  let collector = try LabSocket(.udp, in: pair.far, bound: Endpoint(far, 10514))
  defer { _ = collector.local }

  let ways: [(what: String, fireflies: String, goal: Double?)] = [
    ("without fireflies", "period: none, remoteEnds: false", 1),
    (
      "announced each minute to one collector", "remoteEnds: false, collectors: [\"[2001:db8::2]\"]", nil
    ),
    (
      "the same with TCP metrics",
      "remoteEnds: false, collectors: [\"[2001:db8::2]\"], enrichment: compatible", nil
    ),
  ]
  for (what, fireflies, goal) in ways {
    let marker = try MarkerProcess(
      "run --config CONFIG",
      configuration: "interfaces: [near0]\npipes: [PIPE]\nfireflies: {\(fireflies)}\n", in: pair.near)
    let empty = try marker.residentKilobytes
    try marker.tell(
      connections.keys.map {
        "start tcp \($0.local.address) \($0.local.port) \($0.remote.address) \($0.remote.port) 2 17\n"
      }.joined())
    // The starts are announced, and the first dump is over.
    sleep(35)
    let before = try marker.processorTime
    let begin = MonotonicTime.now()
    sleep(60)
    let seconds = Double(MonotonicTime.now().microseconds(since: begin)) / 1e6
    let share = (try marker.processorTime - before) / seconds * 100
    try recorder.figure("share of a processor, \(what)", Samples([share]), "%", .less, goal: goal)
    let bytes = Double(try marker.residentKilobytes - empty) * 1024 / Double(count)
    try recorder.figure(
      "resident memory for each, \(what)", Samples([bytes]), "bytes", .less, isDetail: goal == nil)
    _ = marker.stop()
  }
}

private func benchDumps(_ recorder: Recorder, _ pair: VethPair, _ keys: [FlowKey]) throws {
  var (whole, one) = (Samples(), Samples())
  try pair.near.run { () throws(SystemError) in
    let dump = try SocketDump()
    for _ in 0..<9 {
      var (seen, bytes) = (0, 0 as UInt64)
      let begin = MonotonicTime.now()
      try dump.forEach(.tcp) {
        seen += 1
        bytes &+= $0.bytes?.received ?? 0
      }
      whole.add(Double(MonotonicTime.now().microseconds(since: begin)) / 1000)
      guard seen == keys.count else { throw SystemError("a dump has \(seen) sockets", code: EIO) }
      let start = MonotonicTime.now()
      for key in keys.prefix(10_000) {
        guard try dump.one(key, { $0.tcpInfo?.bytes }) != nil else {
          throw SystemError("no socket", "\(key)", code: ENOENT)
        }
      }
      one.add(Double(MonotonicTime.now().microseconds(since: start)) / 10_000)
    }
  }
  try recorder.figure("a dump of all", whole, "ms", .less)
  try recorder.figure("one socket by its addresses and ports", one, "us", .less)
}
