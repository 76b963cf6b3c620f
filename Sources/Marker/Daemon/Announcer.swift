import Firefly
import Flow
import Linux
import ServiceLifecycle

/// Sends what the table's writer announces, on a thread of its own: fireflies never hold up marking.
final class Announcer: Service {
  private let announcements: BoundedQueue<Announcement>
  private let emitter: Emitter

  init(_ announcements: BoundedQueue<Announcement>, emitter: Emitter) {
    self.announcements = announcements
    self.emitter = emitter
  }

  /// Runs until the queue is closed and empty, which the table's writer does at its end.
  func run() async throws {
    await runOnThread(named: "fireflies") {
      var batch: ContiguousArray<Announcement> = []
      repeat {
        self.announcements.wait()
        guard self.announcements.take(into: &batch) else { break }
        self.emitter.send(batch, at: WallClockTime.now())
      } while true
      self.emitter.stop()
    }
    // The queue may be closed before the group comes to stopping this service, and one that ends by itself counts as
    // failed.
    try await gracefulShutdown()
  }
}
