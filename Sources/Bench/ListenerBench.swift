import BenchReport
import Firefly
import Flow
import Glibc
import Lab
import Linux

/// How fast fireflies are decoded, and how many a daemon hears without losing one.
func benchListener(_ recorder: Recorder) throws {
  recorder.heading("fireflies of others, decoded, and heard by a daemon")
  try benchDecoder(recorder)
  let pair = try VethPair()
  try pair.near.shell("ip link set lo up")
  // Above the goal, and as fast as the sender can.
  for wanted in [120_000, 0] { try benchHearing(recorder, pair, perSecond: wanted) }
}

private let payloads: [(name: String, text: String)] = [
  (
    "XRootD's end",
    #"<134>1 - srv.example.org xrootd - firefly-json - {"version":1,"flow-lifecycle":{"state":"end","#
      + #""current-time":"2024-10-01T12:00:05.123456+00:00","start-time":"2024-10-01T12:00:00.000123+00:00","#
      + #""end-time":"2024-10-01T12:00:05.123456+00:00"},"usage":{"received":1234,"sent":1073741824},"#
      + #""netlink":{"rtt":12.345},"context":{"experiment-id":3,"activity-id":14,"application":"xrdcp"},"#
      + #""flow-id":{"afi":"ipv6","src-ip":"2001:db8::1","dst-ip":"2001:db8::2","protocol":"tcp","#
      + #""src-port":1094,"dst-port":40000}}"#
  ),
  (
    "flowd's start, blanks, escapes",
    #"<134>1 2024-03-28T08:58:48.899646+00:00 etf-cs9.cern.ch flowd - firefly-json - {"version": 1, "#
      + #""flow-lifecycle": {"state": "start", "start-time": "2024-03-28T08:58:44.899660+00:00"}, "flow-id": "#
      + #"{"afi": "ipv6", "src-ip": "2600:900:6:1101:a288:c2ff:fed2:34de", "#
      + #""dst-ip": "2620:6a:0:8421:f0:0:189:154", "protocol": "tcp", "src-port": 1234, "dst-port": 5678}, "#
      + #""context": {"experiment-id": 1, "activity-id": 1, "application": "flowd \u0076 \"1.0.2\""}}"#
  ),
]

private func benchDecoder(_ recorder: Recorder) throws {
  let names = ApplicationNames(own: "marker bench")
  var decoder = FireflyDecoder(applications: names)
  let count = 100_000
  for payload in payloads {
    let bytes = Array(payload.text.utf8)
    var rate = Samples()
    for _ in 0..<9 {
      let begin = cpuTime()
      for _ in 0..<count { _ = try decoder.decode(bytes.span) }
      rate.add(Double(count) / (cpuTime() - begin))
    }
    try recorder.figure("decoded by a core: \(payload.name)", rate, "/s", .more, goal: 500_000)
  }
}

/// - Parameter perSecond: fireflies, 0 for as many as can be sent.
private func benchHearing(_ recorder: Recorder, _ pair: VethPair, perSecond: Int) throws {
  let rounds = 7
  let step = 1000
  let steps = 120
  var (rate, lost) = (Samples(), Samples())
  for _ in 0..<rounds {
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: """
        pipes: []
        fireflies: {remoteEnds: false}
        listen: {fireflies: "[::1]:10514", rate: 10000000}
        """, in: pair.near)
    let target = try Collector(host: "::1")
    let emitter = try pair.near.run { () throws(SystemError) in
      try Emitter(
        configuration: Emitter.Configuration(host: "dtn1", collectors: [target], remoteEnds: nil),
        applications: ApplicationNames(own: "marker bench"))
    }
    let batches = (0..<steps).map { announcements(from: $0 * step, count: step) }
    let begin = MonotonicTime.now()
    for (index, batch) in batches.enumerated() {
      emitter.send(batch, at: .now())
      guard perSecond > 0 else { continue }
      let due = Int64(index + 1) * Int64(step) * 1_000_000 / Int64(perSecond)
      let ahead = due - MonotonicTime.now().microseconds(since: begin)
      if ahead > 0 { usleep(UInt32(ahead)) }
    }
    let sent = emitter.statistics.collectors.first?.destination.sent ?? 0
    rate.add(Double(sent) / Double(MonotonicTime.now().microseconds(since: begin)) * 1e6)
    usleep(300_000)
    guard marker.stop() == 0, let heard = count("taken", in: marker.log) else {
      throw SystemError("the daemon did not stop as it should", "it logged: \(marker.log)", code: EIO)
    }
    lost.add(Double(sent) - Double(heard))
  }
  let isPaced = perSecond > 0
  let how = isPaced ? "paced" : "as fast as one core sends"
  try recorder.figure("sent to a daemon, \(how)", rate, "/s", .more, goal: isPaced ? 100_000 : nil)
  try recorder.figure(
    "of 120,000 lost, \(how)", lost, "", .less, goal: isPaced ? 0 : nil, isDetail: !isPaced)
}

private func announcements(from first: Int, count: Int) -> ContiguousArray<Announcement> {
  ContiguousArray(
    (first..<first + count).map { number in
      let key = FlowKey(
        // Loopback's own address: a flow without an end on the host would not be entered.
        local: Endpoint(Address(high: 0, low: 1), UInt16(1 + number % 60_000)),
        remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), UInt16(1094 + number / 60_000)),
        transport: .tcp)
      return Announcement(
        .start, key, .outbound, SciTag(packed: 206), start: WallClockTime(microseconds: 1_700_000_000_000_000)
      )
    })
}

/// A count of the line that a listener logs at its end.
private func count(_ name: String, in log: String) -> Int? {
  let line = log.split(separator: "\n").last { $0.contains("fireflies heard") }
  return line?.split(separator: "\(name)=").last.flatMap { Int($0.prefix { $0.isNumber }) }
}
