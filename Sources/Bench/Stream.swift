import Flow
import Glibc
import Lab
import Linux

/// A TCP connection over a veth pair that is filled for a while.
final class Stream {
  private let near: LabSocket
  private let far: LabSocket
  let key: FlowKey
  /// Seconds of traffic for one figure.
  private static let duration = 0.5

  init(_ pair: any TwoEnds, ipv4: Bool = false) throws(SystemError) {
    func end(_ text: String) throws(SystemError) -> Endpoint {
      guard let address = Address(text) else { throw SystemError("not an address", text, code: EINVAL) }
      return Endpoint(address, 0)
    }
    let listener = try LabSocket(.tcp, in: pair.far, bound: end(ipv4 ? VethPair.far4 : VethPair.far6))
    try listener.listen()
    near = try LabSocket(.tcp, in: pair.near, bound: end(ipv4 ? VethPair.near4 : VethPair.near6))
    try near.connect(to: listener.local)
    far = try listener.accept()
    key = FlowKey(local: near.local, remote: listener.local, transport: .tcp)
  }

  /// Nanoseconds a run of a program that sees this stream's packets leave.
  func cost(of program: Program) throws(SystemError) -> Double {
    let before = try program.statistics()
    try fill()
    let after = try program.statistics()
    return Double(after.nanoseconds - before.nanoseconds) / Double(max(1, after.runs - before.runs))
  }

  /// What the sender gets rid of, gigabits a second.
  func gigabits() throws(SystemError) -> Double { Double(try fill()) * 8 / Self.duration / 1e9 }

  /// Sends so many writes of so many bytes, each a packet or a super-packet of its own where the window lets it.
  ///
  /// - Returns: nanoseconds of processor time, both ends together, and of the clock.
  func send(_ writes: Int, of size: Int) throws(SystemError) -> (processor: Double, wall: Double) {
    try near.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    let stop = try EventCounter()
    let reader = SinkThread(far.descriptor.raw, stop.descriptor, done: try EventCounter())
    reader.start()
    let bytes = [UInt8](repeating: 7, count: size)
    let (processor, start) = (clock(CLOCK_PROCESS_CPUTIME_ID), clock(CLOCK_MONOTONIC))
    for _ in 0..<writes { try near.send(bytes) }
    let result = (clock(CLOCK_PROCESS_CPUTIME_ID) - processor, clock(CLOCK_MONOTONIC) - start)
    stop.signal()
    reader.finished.wait()
    return result
  }

  private func clock(_ which: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(which, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }

  /// - Returns: bytes sent.
  @discardableResult
  private func fill() throws(SystemError) -> Int {
    let sink = far
    let stop = try EventCounter()
    let done = try EventCounter()
    let reader = SinkThread(sink.descriptor.raw, stop.descriptor, done: done)
    reader.start()
    let chunk = [UInt8](repeating: 7, count: 128 << 10)
    let start = MonotonicTime.now()
    var sent = 0
    while Double(MonotonicTime.now().microseconds(since: start)) < Self.duration * 1e6 {
      try near.send(chunk)
      sent += chunk.count
    }
    stop.signal()
    reader.finished.wait()
    return sent
  }
}

/// Reads and forgets what a socket gets until it is told to stop.
private final class SinkThread: Sendable {
  private let socket: Int32
  private let stop: Int32
  let finished: EventCounter

  init(_ socket: Int32, _ stop: Int32, done: consuming EventCounter) {
    self.socket = socket
    self.stop = stop
    finished = done
  }

  func start() {
    Task.detached { [self] in
      await runOnThread(named: "sink") {
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var ready = [
          pollfd(fd: self.socket, events: Int16(POLLIN), revents: 0),
          pollfd(fd: self.stop, events: Int16(POLLIN), revents: 0),
        ]
        while true {
          _ = poll(&ready, 2, -1)
          if ready[0].revents != 0 {
            _ = recv(self.socket, &buffer, buffer.count, 0)
          } else if ready[1].revents != 0 {
            break
          }
        }
        self.finished.signal()
      }
    }
  }
}
