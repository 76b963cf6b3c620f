import BenchReport
import Firefly
import Flow
import Glibc
import Lab
import Linux

/// How many fireflies one core encodes and sends to one collector.
func benchFireflies(_ recorder: Recorder) throws {
  recorder.heading("fireflies, encoded and sent to one collector on loopback")
  let namespace = try NetworkNamespace()
  guard let loopback = Address("::1") else { return }
  let collector = try LabSocket(.udp, in: namespace, bound: Endpoint(loopback, 0))
  let target = try Collector(host: "::1", port: collector.local.port)
  let emitter = try namespace.run { () throws(SystemError) in
    try Emitter(
      configuration: Emitter.Configuration(
        host: "dtn1.example.org", collectors: [target],
        remoteEnds: nil),
      applications: ApplicationNames(own: "marker bench"))
  }
  var announcements: ContiguousArray<Announcement> = []
  for port in 1...10_000 as ClosedRange<UInt16> {
    let key = FlowKey(
      local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), port),
      remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 1094), transport: .tcp)
    announcements.append(
      Announcement(
        .end, key, .outbound, SciTag(packed: 206), start: WallClockTime(microseconds: 1_700_000_000_000_000),
        end: WallClockTime(microseconds: 1_700_000_060_000_000), usage: Usage(packets: 1, bytes: 123_456_789))
    )
  }
  var rate = Samples()
  for _ in 0..<9 {
    let begin = cpuTime()
    for _ in 0..<10 { emitter.send(announcements, at: WallClockTime.now()) }
    rate.add(100_000 / (cpuTime() - begin))
  }
  try recorder.figure("per second of one core", rate, "/s", .more, goal: 150_000)
}

/// Seconds of processor time that this thread has used.
func cpuTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
