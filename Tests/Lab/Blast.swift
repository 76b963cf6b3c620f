import Glibc
public import Linux

/// Datagrams that leave all the time, from a thread of their own, until it is stopped.
public final class Blast: Sendable {
  private let running: EventCounter
  private let done: EventCounter

  public init(_ sockets: [LabSocket]) throws(SystemError) {
    running = try EventCounter()
    done = try EventCounter()
    // Not by a task: tests that wait here sit on the threads that tasks run on.
    startThread { [self] in
      // A little beyond the signal, so that the last packets are those of the new settings.
      var rest = 50
      while rest > 0 {
        for socket in sockets { _ = try? socket.send([1, 2, 3]) }
        usleep(100)
        if running.wait(milliseconds: 0) || rest < 50 { rest -= 1 }
      }
      done.signal()
    }
  }

  public func stop() {
    usleep(20_000)
    running.signal()
    done.wait()
  }
}
