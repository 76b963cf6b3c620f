import Flow
import Linux
import Synchronization

/// What the parts of the daemon beside the table's writer tell of themselves. Read by any thread.
final class Vitals: Sendable {
  /// The parts that count.
  struct Parts: Sendable {
    let announcer: Announcer
    let listener: FireflySource
    let pipes: PipeSource
  }

  /// All of it at one moment.
  struct Reading: Sendable {
    var fireflies = FireflyTotals()
    var heard = FireflyCounts()
    var pipeLines: UInt64 = 0
    var malformedLines: UInt64 = 0
    var requests: [APIRequests.Kind: UInt64] = [:]
    var log = LogOutput.Counts()
  }

  let start = Moment.now()
  let requests = APIRequests()
  private let log: LogOutput?
  private let parts = Mutex<Parts?>(nil)

  /// - Parameter log: nil where nobody counts what is logged.
  init(log: LogOutput?) { self.log = log }

  /// From now on these are asked.
  func watch(_ parts: Parts) { self.parts.withLock { $0 = parts } }

  func read() -> Reading {
    var reading = Reading()
    reading.requests = requests.counts
    if let log { reading.log = log.counts }
    guard let parts = parts.withLock({ $0 }) else { return reading }
    reading.fireflies = parts.announcer.totals
    reading.heard = parts.listener.heardSoFar
    reading.pipeLines = parts.pipes.counts.lines.load(ordering: .relaxed)
    reading.malformedLines = parts.pipes.counts.malformed.load(ordering: .relaxed)
    return reading
  }
}

/// How many requests the API has answered, by what came of them.
final class APIRequests: Sendable {
  /// A class of HTTP's status codes.
  enum Kind: String, Sendable, CaseIterable {
    case success = "2xx"
    case clientError = "4xx"
    case serverError = "5xx"
  }
  private let state = Mutex<[Kind: UInt64]>([.success: 0, .clientError: 0, .serverError: 0])

  func note(status: UInt) {
    let kind: Kind = status >= 500 ? .serverError : status >= 400 ? .clientError : .success
    state.withLock { $0[kind, default: 0] += 1 }
  }

  var counts: [Kind: UInt64] { state.withLock { $0 } }
}
