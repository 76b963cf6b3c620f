import BenchReport
import Flow
import Glibc
import Lab
import Linux

private let far = Address(high: 0x2001_0db8 << 32, low: 2)
private let ports = 5200...5207

/// Connections that a rule finds, opened and closed as fast as the figure wants: each is to start and to end, and both
/// are to be announced.
func benchShortConnections(_ recorder: Recorder) throws {
  recorder.heading("63,000 short connections that a rule tags")
  let (rate, seconds) = (10_500, 6)
  let pair = try VethPair()
  let group = try LabGroup()
  let ear = try LabSocket(.udp, in: pair.far, bound: Endpoint(far, 10514))
  try ear.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 512 << 20)
  // Every pair of ports is used once, so those in TIME_WAIT must not run out.
  try pair.near.shell(
    "sysctl -qw net.ipv4.ip_local_port_range='10000 65000' net.ipv4.tcp_max_tw_buckets=1000000")
  let marker = try MarkerProcess(
    "run --config CONFIG --api API",
    configuration: """
      interfaces: [near0]
      pipes: [PIPE]
      rules: [{experiment: 2, activity: 17, remotePorts: \(ports.lowerBound)-\(ports.upperBound), protocol: tcp}]
      sockets: {cgroup: \(group.folder)}
      fireflies: {collectors: ["[2001:db8::2]"], remoteEnds: false, period: none}
      """, in: pair.near)
  let server = try pair.far.run { () throws(SystemError) in
    try startShell("exec /proc/\(getpid())/exe hold serve \(ports.lowerBound) \(ports.count)")
  }
  defer {
    kill(server, SIGKILL)
    waitpid(server, nil, 0)
  }
  usleep(500_000)
  let before = try marker.processorTime
  let begin = MonotonicTime.now()
  let open =
    "/proc/\(getpid())/exe hold open \(ports.lowerBound) \(ports.count) \(rate / 2) \(rate / 2 * seconds)"
  try group.run { _ = try pair.near.shell("\(open) & \(open) && wait $!") }
  let took = Double(MonotonicTime.now().microseconds(since: begin)) / 1e6
  let (started, ended) = try settled(marker, rate * seconds)
  let share = (try marker.processorTime - before) / took * 100
  try recorder.figure(
    "opened in a second", Samples([Double(rate * seconds) / took]), "/s", .more, goal: 10_000)
  try recorder.figure("missed", rate * seconds - started, "", .less, goal: 0)
  try recorder.figure("that did not end", started - ended, "", .less, goal: 0)
  try recorder.figure(
    "fireflies that the collector missed", 2 * rate * seconds - (try count(ear)), "", .less, goal: 0)
  try recorder.figure("the daemon's share of a processor", Samples([share]), "%", .less)
  guard marker.stop() == 0 else { throw SystemError("marker did not stop", code: EIO) }
}

/// What the daemon counted, when it counts no more.
private func settled(_ marker: MarkerProcess, _ wanted: Int) throws -> (started: Int, ended: Int) {
  var last = (started: -1, ended: -1)
  while true {
    let text = try shell("curl -s --unix-socket \(marker.api) http://marker/v1/status")
    func number(_ name: String) -> Int {
      guard let range = text.firstRange(of: "\"\(name)\":") else { return 0 }
      return Int(text[range.upperBound...].prefix { $0.isNumber }) ?? 0
    }
    let now = (number("started"), number("endedWithSocket"))
    if now == last { return now }
    last = now
    usleep(1_500_000)
  }
}

private func count(_ ear: LabSocket) throws -> Int {
  var count = 0
  var buffer = [UInt8](repeating: 0, count: 2048)
  while true {
    var ready = pollfd(fd: ear.descriptor.raw, events: Int16(POLLIN), revents: 0)
    if poll(&ready, 1, 500) == 0 { return count }
    if recv(ear.descriptor.raw, &buffer, buffer.count, 0) > 0 { count += 1 }
  }
}

/// What the ends of such connections do: `serve PORT PORTS`, which reads each to its end until it is killed, or
/// `open PORT PORTS RATE COUNT`, which opens, writes and closes one after the other, round the ports.
func churnConnections(_ arguments: [String]) -> Never {
  let numbers = arguments.dropFirst().compactMap { Int($0) }
  guard numbers.count >= 2 else { exit(64) }
  func fail(_ what: String) -> Never {
    complain("\(what): \(String(cString: strerror(errno)))")
    exit(1)
  }
  func call(_ what: String, _ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) {
    var name = sockaddr_in6()
    name.sin6_family = sa_family_t(AF_INET6)
    name.sin6_port = UInt16(port).bigEndian
    withUnsafeMutableBytes(of: &name.sin6_addr) {
      $0.copyBytes(from: [0x20, 0x01, 0x0d, 0xb8] + Array(repeating: 0, count: 11) + [2])
    }
    let result = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    }
    if result != 0 { fail(what) }
  }
  // What is measured is the daemon, not whether these get their share of a busy machine.
  setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, -15)
  if arguments.first == "serve" {
    var listeners: [pollfd] = []
    for port in numbers[0]..<numbers[0] + numbers[1] {
      let made = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
      if made < 0 { fail("socket") }
      call("bind", port) { bind(made, $0, $1) }
      if listen(made, 4096) != 0 { fail("listen") }
      listeners.append(pollfd(fd: made, events: Int16(POLLIN), revents: 0))
    }
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      _ = poll(&listeners, nfds_t(listeners.count), -1)
      for listener in listeners where listener.revents != 0 {
        let accepted = accept(listener.fd, nil, nil)
        if accepted < 0 { fail("accept") }
        while recv(accepted, &buffer, buffer.count, 0) > 0 {}
        close(accepted)
      }
    }
  }
  guard numbers.count == 4 else { exit(64) }
  let payload = [UInt8](repeating: 1, count: 100)
  let begin = MonotonicTime.now()
  for number in 0..<numbers[3] {
    let due = Int64(number) * 1_000_000 / Int64(numbers[2])
    let passed = MonotonicTime.now().microseconds(since: begin)
    // A millisecond's worth at a time.
    if due > passed + 1000 { usleep(UInt32(due - passed)) }
    let made = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    if made < 0 { fail("socket") }
    call("connect", numbers[0] + number % numbers[1]) { connect(made, $0, $1) }
    if send(made, payload, payload.count, 0) != payload.count { fail("send") }
    close(made)
  }
  exit(0)
}
