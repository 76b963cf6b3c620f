import CLinux
import Flow
import Glibc
import Linux
import Logging
import ServiceLifecycle
import Synchronization

/// A named pipe that is open.
final class SharedPipe: Sendable {
  private let pipe: NamedPipe

  /// Anybody may write: the storage services that do run under users of their own.
  private static let mode: UInt32 = 0o666

  init(_ path: String) throws(SystemError) { pipe = try NamedPipe(path, mode: Self.mode) }

  var path: String { pipe.path }
  var descriptor: Int32 { pipe.descriptor }

  /// Whether a path leads to this pipe.
  func isAt(_ path: String) -> Bool { pipe.isAt(path) }
}

/// Reads flows from named pipes. A line that is wrong is reported and the next one read; when the table cannot keep
/// up the pipes fill and their writers wait.
final class PipeSource: Service {
  let counts = PipeCounts()
  /// The pipes to read. The thread that reads them takes over what it finds changed.
  private let pipes: Mutex<[SharedPipe]>
  private let inbox: BoundedQueue<FlowEvent>
  private let log: Logger
  private let stop: EventCounter
  private let changed: EventCounter
  private let poller: Descriptor

  /// Events handed on at once.
  private static let batchSize = 1024

  init(paths: [String], inbox: BoundedQueue<FlowEvent>, log: Logger) throws(SystemError) {
    var pipes: [SharedPipe] = []
    for path in paths { pipes.append(try SharedPipe(path)) }
    self.pipes = Mutex(pipes)
    self.inbox = inbox
    self.log = log
    stop = try EventCounter()
    changed = try EventCounter()
    poller = try Descriptor("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) }
    for path in paths { log.info("reading flows", metadata: ["pipe": "\(path)"]) }
  }

  /// Opens the pipes that are to be read; those that are read already, by whatever path, stay as they are.
  func open(_ paths: [String]) throws(SystemError) -> [SharedPipe] {
    let old = pipes.withLock { $0 }
    var new: [SharedPipe] = []
    for path in paths {
      if let pipe = old.first(where: { $0.isAt(path) }) {
        new.append(pipe)
      } else {
        new.append(try SharedPipe(path))
      }
    }
    return new
  }

  /// Reads these from now on, and no others.
  func read(_ new: [SharedPipe]) {
    let old = pipes.withLock { pipes in
      defer { pipes = new }
      return pipes
    }
    changed.signal()
    for pipe in new where !old.contains(where: { $0 === pipe }) {
      log.info("reading flows", metadata: ["pipe": "\(pipe.path)"])
    }
  }

  func run() async throws {
    try await withGracefulShutdownHandler {
      try await runOnThread(named: "pipes") { () throws(SystemError) in try self.read() }
    } onGracefulShutdown: {
      self.stop.signal()
    }
  }

  private func read() throws(SystemError) {
    try poller.watch(stop.descriptor, EPOLLIN.rawValue)
    try poller.watch(changed.descriptor, EPOLLIN.rawValue)
    var open: [Int32: PipeReader] = [:]
    try follow(&open)

    var readers = PipeReaders(batchSize: Self.batchSize, counts: counts)
    var events = [epoll_event](repeating: epoll_event(), count: 16)
    // Pipes with more in them than their share: no edge will tell of it again.
    var waiting: Set<Int32> = []
    while true {
      let ready = try system("epoll_wait") {
        epoll_wait(poller.raw, &events, Int32(events.count), waiting.isEmpty ? -1 : 0)
      }
      for event in events[..<Int(ready)] {
        switch event.data.fd {
        case stop.descriptor: return
        case changed.descriptor:
          changed.clear()
          try follow(&open)
        default: waiting.insert(event.data.fd)
        }
      }
      for fd in waiting {
        guard let reader = open[fd] else {
          waiting.remove(fd)
          continue
        }
        do throws(SystemError) {
          switch try readers.drain(reader, into: inbox, log) {
          case .empty: waiting.remove(fd)
          case .more: break
          case .closed: return
          }
        } catch {
          waiting.remove(fd)
          log.error(
            "cannot read a pipe; it is not read any more",
            metadata: ["pipe": "\(reader.pipe.path)", "error": "\(error)"])
        }
      }
    }
  }

  /// Opens and closes what has changed. A pipe that is closed leaves the poller by itself.
  private func follow(_ open: inout [Int32: PipeReader]) throws(SystemError) {
    let wanted = pipes.withLock { $0 }
    open = open.filter { entry in wanted.contains { $0 === entry.value.pipe } }
    for pipe in wanted where open[pipe.descriptor] == nil {
      open[pipe.descriptor] = PipeReader(pipe)
      // Edge-triggered: a pipe without writers is at its end for as long as none comes, which a level would report on
      // and on.
      try poller.watch(pipe.descriptor, EPOLLIN.rawValue | EPOLLET.rawValue)
    }
  }
}

extension Descriptor {
  fileprivate borrowing func watch(_ fd: Int32, _ events: UInt32) throws(SystemError) {
    var event = epoll_event(events: events, data: epoll_data(fd: fd))
    try system("epoll_ctl") { epoll_ctl(raw, EPOLL_CTL_ADD, fd, &event) }
  }
}
