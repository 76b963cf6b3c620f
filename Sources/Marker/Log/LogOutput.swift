import Flow
import Glibc
import Linux
import Logging
import Synchronization

/// Where the log goes: standard error, by line, from any thread. Knows what went wrong since the start.
final class LogOutput: Sendable {
  /// A warning or an error.
  struct Incident: Sendable {
    let time: WallClockTime
    let level: Logger.Level
    let message: String
    /// How often it was said since, this included.
    var count = 1
  }
  /// How much was logged, and the last that went wrong.
  struct Counts: Sendable {
    var levels: [Logger.Level: UInt64] = [:]
    var suppressed: UInt64 = 0
    /// The latest last.
    var incidents: [Incident] = []
  }

  private struct State {
    var format: LogFormat
    var repeats = LogRepeats(at: .now())
    var counts = Counts()
  }
  private let state: Mutex<State>
  private let descriptor: Int32
  /// journald reads the descriptor.
  private let isJournal: Bool

  private static let incidentLimit = 10

  init(_ format: LogFormat, descriptor: Int32 = STDERR_FILENO) {
    state = Mutex(State(format: format))
    self.descriptor = descriptor
    isJournal = Self.isJournal(descriptor)
  }

  /// Whether journald reads a descriptor: it names its device and inode in the environment (systemd.exec(5)).
  private static func isJournal(_ descriptor: Int32) -> Bool {
    var status = stat()
    guard let stream = getenv("JOURNAL_STREAM"), fstat(descriptor, &status) == 0 else { return false }
    return String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
  }

  var format: LogFormat {
    get { state.withLock { $0.format } }
    set { state.withLock { $0.format = newValue } }
  }

  var counts: Counts { state.withLock { $0.counts } }

  func log(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) {
    let (now, time) = (MonotonicTime.now(), WallClockTime.now())
    state.withLock { state in
      tellOfSuppressed(&state, at: now, time, all: false)
      state.counts.levels[level, default: 0] += 1
      if level >= .warning { Self.note(Incident(time: time, level: level, message: message), &state.counts) }
      guard state.repeats.admit(level, message, at: now) else {
        state.counts.suppressed += 1
        return
      }
      write(state.format, level, message, metadata, time)
    }
  }

  /// Tells of what was kept out in periods that are over.
  ///
  /// - Parameter all: also of those that go on, at the end.
  func settle(all: Bool = false) {
    let (now, time) = (MonotonicTime.now(), WallClockTime.now())
    state.withLock { tellOfSuppressed(&$0, at: now, time, all: all) }
  }

  private func tellOfSuppressed(
    _ state: inout State, at now: MonotonicTime, _ time: WallClockTime, all: Bool
  ) {
    for suppressed in state.repeats.settle(at: now, all: all) {
      write(
        state.format, suppressed.level, "more of the same was not logged",
        ["what": "\(suppressed.message)", "count": "\(suppressed.count)"], time)
    }
  }

  private static func note(_ incident: Incident, _ counts: inout Counts) {
    if counts.incidents.last?.message == incident.message {
      let count = (counts.incidents.popLast()?.count ?? 0) + 1
      counts.incidents.append(
        Incident(time: incident.time, level: incident.level, message: incident.message, count: count))
      return
    }
    counts.incidents.append(incident)
    if counts.incidents.count > incidentLimit { counts.incidents.removeFirst() }
  }

  private func write(
    _ format: LogFormat, _ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata,
    _ time: WallClockTime
  ) {
    var line = isJournal ? "<\(level.priority)>" : ""
    line += format.line(level, message, metadata, at: isJournal ? nil : time)
    line += "\n"
    var rest = Array(line.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      // There is nowhere to tell that nobody can be told.
      guard count > 0 || errno == EINTR else { return }
      rest = rest.dropFirst(max(count, 0))
    }
  }
}

/// swift-log's way to a `LogOutput`.
struct OutputLogHandler: LogHandler {
  let output: LogOutput
  var logLevel = Logger.Level.trace
  var metadata: Logger.Metadata = [:]

  init(_ output: LogOutput) { self.output = output }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var all = metadata.merging(event.metadata ?? [:]) { $1 }
    if let error = event.error { all["error"] = "\(error)" }
    output.log(event.level, "\(event.message)", all)
  }
}
