import BenchReport
import CLinux
import Flow
import Glibc
import Lab
import Linux
import Synchronization
import XDP

/// A box between two hosts that hands packets on by its bridge, or by an engine.
private struct InlineLane {
  let name: String
  let lab: InlineLab
  /// Nil for the bridge alone.
  let path: InlinePath?

  /// - Parameter isPlain: whether the sender hands over whole checksums and no super-packets, as AF_XDP needs it.
  init(_ name: String, _ kind: PathKind?, isPlain: Bool = false) throws {
    self.name = name
    // All offloads as they are by themselves, the same for all.
    let lab = try InlineLab(isWire: false)
    self.lab = lab
    if isPlain { try lab.near.shell("ethtool -K app0 tx off tso off gso off txvlan off >/dev/null") }
    path = try kind.map { kind in
      try lab.box.run {
        let path = InlinePath(kind, maxFlows: 1000)
        try path.open(InlinePair.find(inside: "in0", outside: "out0"))
        return path
      }
    }
  }

  func mark(_ key: FlowKey) throws {
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, key, benchMark(1)))
    path?.apply(&batch)
    guard batch.changes[0].failure == nil else {
      throw SystemError("a mark was refused", "\(key)", code: EIO)
    }
  }

  var lost: UInt64 {
    path?.updateCounters()
    guard let counters = path?.counters else { return 0 }
    return counters.overflowed.load(ordering: .relaxed) + counters.unsent.load(ordering: .relaxed)
  }
}

/// The bridge alone against both engines, with traffic that is tagged and traffic that is not.
func benchInline(_ recorder: Recorder) throws {
  try benchRewriter(recorder)
  // Each against a bridge with the same offloads: those of AF_XDP's sender are off.
  let raw = try [InlineLane("bridge", nil), InlineLane("raw", .raw)]
  try compare(recorder, raw, "all offloads")
  let xdp = try [InlineLane("bridge", nil, isPlain: true), InlineLane("xdp", .xdp)]
  try compare(recorder, xdp, "no super-packets, whole checksums")
}

private func compare(_ recorder: Recorder, _ lanes: [InlineLane], _ offloads: String) throws {
  recorder.heading(
    "between two ports of a bridge, against the bridge alone (ratio of each round); \(offloads)")
  try compare(recorder, lanes, "TCP over IPv6", "Gb/s", rounds: 9) { lane, isTagged in
    let stream = try Stream(lane.lab)
    if isTagged { try lane.mark(stream.key) }
    return try stream.gigabits()
  }
  try compare(recorder, lanes, "UDP of 64 bytes, packets", "/s", rounds: 7) { lane, isTagged in
    try packetRate(lane, isTagged)
  }
  try compare(recorder, lanes, "round trip of 64 bytes, UDP", "ms", rounds: 7, isDifference: true) {
    lane, isTagged in
    try roundTrip(lane, isTagged)
  }
  for lane in lanes.dropFirst() {
    try recorder.figure("\(lane.name), packets lost meanwhile", lane.lost, "", .less, isDetail: true)
  }
}

private func compare(
  _ recorder: Recorder, _ lanes: [InlineLane], _ what: String, _ unit: String, rounds: Int,
  isDifference: Bool = false, _ measure: (InlineLane, Bool) throws -> Double
) throws {
  var base = Samples()
  var values = [[Samples]](repeating: [Samples(), Samples()], count: lanes.count)
  for _ in 0..<rounds {
    let none = try measure(lanes[0], false)
    base.add(none)
    for index in lanes.indices.dropFirst() {
      for isTagged in [false, true] {
        let value = try measure(lanes[index], isTagged)
        values[index][isTagged ? 1 : 0].add(isDifference ? value - none : value / none)
      }
    }
  }
  let other = lanes.dropFirst().map(\.name).joined(separator: ", ")
  try recorder.figure(
    "\(what), bridge beside \(other)", base, unit, isDifference ? .less : .more, isDetail: true)
  for index in lanes.indices.dropFirst() {
    for (place, tagged) in ["untagged", "tagged"].enumerated() {
      try recorder.figure(
        "\(what), \(lanes[index].name), \(tagged)\(isDifference ? ", more" : "")", values[index][place],
        isDifference ? unit : "", isDifference ? .less : .more,
        goal: goal(what, lanes[index].name, place == 1))
    }
  }
}

private func goal(_ what: String, _ lane: String, _ isTagged: Bool) -> Double? {
  if what.hasPrefix("round trip") { return lane == "raw" && isTagged ? 0.1 : nil }
  if !isTagged { return 0.95 }
  if what.hasPrefix("TCP") { return lane == "raw" ? 1 : nil }
  return lane == "xdp" ? 0.8 : nil
}

/// Datagrams that arrive in a second while as many are sent as one thread can.
private func packetRate(_ lane: InlineLane, _ isTagged: Bool) throws -> Double {
  let sender = try Blaster(lane.lab)
  if isTagged { try lane.mark(sender.key) }
  return try sender.arrivals(seconds: 1)
}

/// The median of a thousand round trips, milliseconds.
private func roundTrip(_ lane: InlineLane, _ isTagged: Bool) throws -> Double {
  let (near, far, key) = try udpEnds(lane.lab)
  if isTagged { try lane.mark(key) }
  let stop = try EventCounter()
  let echo = EchoThread(far.descriptor.raw, stop)
  echo.start()
  var times: [Double] = []
  let bytes = [UInt8](repeating: 1, count: 64)
  for _ in 0..<1000 {
    let start = MonotonicTime.now()
    try near.send(bytes)
    guard try near.receive(within: 200) != nil else { continue }
    times.append(Double(MonotonicTime.now().nanoseconds - start.nanoseconds) / 1e6)
  }
  echo.stop.signal()
  echo.done.wait()
  guard times.count > 900 else {
    throw SystemError("round trips are lost", "\(1000 - times.count)", code: EIO)
  }
  return times.sorted()[times.count / 2]
}

/// Sends back what it gets.
private final class EchoThread: Sendable {
  private let socket: Int32
  let stop: EventCounter
  let done: EventCounter

  init(_ socket: Int32, _ stop: consuming EventCounter) {
    self.socket = socket
    self.stop = stop
    guard let done = try? EventCounter() else { fatalError("no descriptors") }
    self.done = done
  }

  func start() {
    startThread { [self] in
      var buffer = [UInt8](repeating: 0, count: 2048)
      var waiting = [
        pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
        pollfd(fd: stop.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      while poll(&waiting, 2, -1) >= 0, waiting[1].revents == 0 {
        let count = recv(socket, &buffer, buffer.count, 0)
        if count > 0 { _ = send(socket, buffer, count, 0) }
      }
      done.signal()
    }
  }
}

/// Two connected UDP sockets.
func udpEnds(_ lab: any TwoEnds) throws -> (near: LabSocket, far: LabSocket, key: FlowKey) {
  guard let local = Address(VethPair.near6), let remote = Address(VethPair.far6) else {
    throw SystemError("not an address", code: EINVAL)
  }
  let far = try LabSocket(.udp, in: lab.far, bound: Endpoint(remote, 0))
  let near = try LabSocket(.udp, in: lab.near, bound: Endpoint(local, 0))
  try near.connect(to: far.local)
  try far.connect(to: near.local)
  try far.set(SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
  return (near, far, FlowKey(local: near.local, remote: far.local, transport: .udp))
}

/// What the rewriter alone costs, with as many flows as do not fit a processor's inner caches.
private func benchRewriter(_ recorder: Recorder) throws {
  recorder.heading("the rewriter alone, IPv6 labels, 65,536 flows, 4096 frames")
  let flows = (0..<65_536).map { (silentFlow($0), benchMark(1)) }
  let packets = (0..<4096).map { number -> [UInt8] in
    let key = silentFlow((number * 7919) % 65_536)
    func bytes(_ address: Address) -> [UInt8] {
      [address.high, address.low].flatMap { half in withUnsafeBytes(of: half.bigEndian) { Array($0) } }
    }
    let payload =
      key.transport == .tcp
      ? PacketBuilder.tcp(key.local.port, key.remote.port)
      : PacketBuilder.udp(key.local.port, key.remote.port)
    return PacketBuilder.ethernet(0x86dd)
      + PacketBuilder.ipv6(
        label: 0x12345, next: key.transport.rawValue, source: bytes(key.local.address),
        destination: bytes(key.remote.address), payload)
  }
  var trial = RewriterTrial(flows: flows, packets: packets)
  trial.run()
  guard let frame = Frame(trial.packet(0)),
    frame.flowLabel & ~FlowLabel.entropyMask != 0x12345 & ~FlowLabel.entropyMask
  else { throw SystemError("the rewriter marks nothing", code: EIO) }
  var figures = Samples()
  for _ in 0..<15 {
    let start = cpuTime()
    for _ in 0..<100 { trial.run() }
    figures.add((cpuTime() - start) * 1e9 / Double(100 * trial.count))
  }
  try recorder.figure("rewriter, a packet", figures, "ns", .less, goal: 20)
}

/// Sends so many packets through AF_XDP and has the books of its frames balanced all the way.
func soakInline(_ packets: UInt64) throws {
  print("\(packets) packets through AF_XDP, frames counted all the way")
  let lane = try InlineLane("xdp", .xdp)
  guard let path = lane.path else { return }
  let counters = path.counters
  let sender = try Blaster(lane.lab)
  try lane.mark(sender.key)
  var reported: UInt64 = 0
  let start = MonotonicTime.now()
  var total: UInt64 = 0
  func books() -> (total: UInt64, sending: UInt64, faults: UInt64) {
    let sending = counters.sendingFrames.load(ordering: .relaxed)
    return (
      counters.freeFrames.load(ordering: .relaxed) + counters.receivingFrames.load(ordering: .relaxed)
        + sending,
      sending, counters.frameFaults.load(ordering: .relaxed)
    )
  }
  while counters.received.load(ordering: .relaxed) < packets {
    _ = try sender.arrivals(seconds: 2)
    // The thread is idle now.
    usleep(50_000)
    let now = books()
    if total == 0 { total = now.total }
    guard now.total == total, now.sending == 0, now.faults == 0 else {
      throw SystemError(
        "frames are lost: \(now.total) of \(total), \(now.sending) on their way, \(now.faults) faults",
        code: EIO)
    }
    let done = counters.received.load(ordering: .relaxed)
    if done / 5_000_000 > reported / 5_000_000 || done >= packets {
      path.updateCounters()
      let seconds = Double(MonotonicTime.now().microseconds(since: start)) / 1e6
      printLine(
        "\(done) packets, \(fixed(seconds, 0)) s",
        "\(now.total) frames, all accounted for; overflowed \(counters.overflowed.load(ordering: .relaxed)), "
          + "unsent \(counters.unsent.load(ordering: .relaxed))")
    }
    reported = done
  }
  let done = counters.received.load(ordering: .relaxed)
  let sent = counters.sent.load(ordering: .relaxed)
  guard done == sent else { throw SystemError("\(done) came and \(sent) left", code: EIO) }
}
