import Firefly
import Linux
import ServiceLifecycle
import Synchronization

/// Sends received fireflies on to the collectors, on a thread of its own: a collector never holds up the listener.
final class Relay: Service {
  let queue: RelayQueue
  private let emitter: Mutex<Emitter>

  init(emitter: Emitter) throws(SystemError) {
    queue = try RelayQueue()
    self.emitter = Mutex(emitter)
  }

  /// Sends by another emitter from the next batch on.
  func setEmitter(_ new: Emitter) { emitter.withLock { $0 = new } }

  /// Runs until the listener has stopped and what it heard has left.
  func run() async throws {
    await withGracefulShutdownHandler {
      await runOnThread(named: "relay") {
        var batch = RelayBatch()
        while self.queue.take(into: &batch) {
          if batch.count > 0 { self.emitter.withLock { $0 }.relay(batch, at: .now()) }
        }
      }
    } onGracefulShutdown: {
      self.queue.close()
    }
  }
}
