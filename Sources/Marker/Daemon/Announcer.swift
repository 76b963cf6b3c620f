import Firefly
import Flow
import Linux
import Logging
import ServiceLifecycle
import Synchronization

/// Sends what the table's writer announces, on a thread of its own: fireflies never hold up marking.
final class Announcer: Service {
  private let announcements: BoundedQueue<Announcement>
  private let emitter: Mutex<Emitter>
  /// What earlier emitters have sent.
  private let past = Mutex(FireflyTotals())
  private let log: Logger

  init(_ announcements: BoundedQueue<Announcement>, emitter: Emitter, log: Logger) {
    self.log = log
    self.announcements = announcements
    self.emitter = Mutex(emitter)
  }

  /// Sends by another emitter from the next batch on.
  func setEmitter(_ new: Emitter) {
    // The old one ends with the batch that it is sending, if any: the thread holds it until then.
    let old = emitter.withLock { emitter in
      defer { emitter = new }
      return emitter
    }
    let last = old.statistics
    past.withLock { $0.add(last) }
    tell(last)
  }

  /// What was sent since the start, by this emitter and those before it.
  var totals: FireflyTotals {
    var totals = past.withLock { $0 }
    totals.add(emitter.withLock { $0 }.statistics)
    return totals
  }

  /// Runs until the queue is closed and empty, which the table's writer does at its end.
  func run() async throws {
    await runOnThread(named: "fireflies") {
      var batch: ContiguousArray<Announcement> = []
      while true {
        self.announcements.wait()
        guard self.announcements.take(into: &batch) else { return }
        self.emitter.withLock { $0 }.send(batch, at: .now())
      }
    }
    // The queue may be closed before the group comes to stopping this service, and one that ends by itself counts as
    // failed.
    try await gracefulShutdown()
    let last = emitter.withLock { $0 }
    tell(last.statistics)
    last.stop()
  }

  private func tell(_ counts: Emitter.Statistics) {
    log.info(
      "fireflies sent",
      metadata: [
        "start": "\(counts.announced.start)", "ongoing": "\(counts.announced.ongoing)",
        "end": "\(counts.announced.end)", "toRemoteEnds": "\(counts.remoteEnds.sent)",
        "private": "\(counts.privateRemoteEnds)", "unreachable": "\(counts.skippedRemoteEnds)",
        "toCollectors": "\(counts.collectors.reduce(0) { $0 + $1.destination.sent })",
      ])
  }
}
