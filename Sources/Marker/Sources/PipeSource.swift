import CLinux
import Flow
import Glibc
import Linux
import Logging
import ServiceLifecycle

/// Reads flows from named pipes. A line that is wrong is reported and the next one read; when the table cannot keep
/// up the pipes fill and their writers wait.
final class PipeSource: Service {
  private final class Pipe: Sendable {
    let pipe: NamedPipe
    init(_ pipe: consuming NamedPipe) { self.pipe = pipe }
  }
  private let pipes: [Pipe]
  private let inbox: BoundedQueue<FlowEvent>
  private let log: Logger
  private let stop: EventCounter

  /// Anybody may write: the storage services that do run under users of their own.
  private static let mode: UInt32 = 0o666
  /// Events handed on at once.
  private static let batchSize = 1024

  init(paths: [String], inbox: BoundedQueue<FlowEvent>, log: Logger) throws(SystemError) {
    var pipes: [Pipe] = []
    for path in paths { pipes.append(Pipe(try NamedPipe(path, mode: Self.mode))) }
    self.pipes = pipes
    self.inbox = inbox
    self.log = log
    stop = try EventCounter()
  }

  func run() async throws {
    try await withGracefulShutdownHandler {
      try await runOnThread(named: "pipes") { () throws(SystemError) in try self.read() }
    } onGracefulShutdown: {
      self.stop.signal()
    }
  }

  private func read() throws(SystemError) {
    let poller = try Descriptor("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) }
    // Edge-triggered: a pipe without writers is at its end for as long as none comes, which a level would report on
    // and on.
    for (number, pipe) in pipes.enumerated() {
      try poller.watch(pipe.pipe.descriptor, EPOLLIN.rawValue | EPOLLET.rawValue, number)
    }
    try poller.watch(stop.descriptor, EPOLLIN.rawValue, -1)

    var readers = PipeReaders(count: pipes.count, batchSize: Self.batchSize)
    var events = [epoll_event](repeating: epoll_event(), count: pipes.count + 1)
    // Pipes with more in them than their share: no edge will tell of it again.
    var waiting: Set<Int> = []
    while true {
      let ready = try system("epoll_wait") {
        epoll_wait(poller.raw, &events, Int32(events.count), waiting.isEmpty ? -1 : 0)
      }
      for event in events[..<Int(ready)] {
        let number = Int(Int32(truncatingIfNeeded: event.data.u64))
        if number < 0 { return }
        waiting.insert(number)
      }
      for number in waiting {
        let pipe = pipes[number].pipe.descriptor
        let path = pipes[number].pipe.path
        do throws(SystemError) {
          switch try readers.drain(number, pipe, path, into: inbox, log) {
          case .empty: waiting.remove(number)
          case .more: break
          case .closed: return
          }
        } catch {
          waiting.remove(number)
          log.error(
            "cannot read a pipe; it is not read any more", metadata: ["pipe": "\(path)", "error": "\(error)"])
        }
      }
    }
  }
}

extension Descriptor {
  fileprivate borrowing func watch(_ fd: Int32, _ events: UInt32, _ number: Int) throws(SystemError) {
    var event = epoll_event(events: events, data: epoll_data(u64: UInt64(bitPattern: Int64(number))))
    try system("epoll_ctl") { epoll_ctl(raw, EPOLL_CTL_ADD, fd, &event) }
  }
}
