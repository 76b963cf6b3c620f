import Flow
import Linux
import Logging
import ServiceLifecycle
import Synchronization

/// What a dump of this host's sockets tells.
enum SocketFact: Sendable {
  /// The dump of this number has this socket.
  case seen(FlowKey, SocketBytes?, dump: UInt32)
  /// The dump is complete.
  case dumped(UInt32, began: Moment)
}

/// Asks the kernel for all TCP sockets from time to time, on a thread of its own: with many sockets that takes longer
/// than the table's writer may be away.
final class SocketWatch: Service {
  /// What the dumps tell, for the writer.
  let facts: BoundedQueue<SocketFact>

  /// Facts that may wait before the dump does.
  private static let queueCapacity = 4096
  /// Facts that are handed over at once.
  private static let batchSize = 512
  /// A dump is followed by a pause of at least so many times what it took, so that dumps cost half a percent of a
  /// processor at most.
  private static let idleShare: Int64 = 200
  /// However long a dump takes, the next comes after so many milliseconds.
  private static let longestPause: Int64 = 300_000

  private struct Wishes {
    var isStopped = false
    var hasFlows = false
    /// A dump is wanted as soon as may be: notifications were lost.
    var isUrgent = false
  }
  private let wishes = Mutex(Wishes())
  private let wake: EventCounter
  private let dump: SocketDump
  /// Milliseconds.
  private let period: Int64
  private let log: Logger

  /// - Parameter period: between dumps, milliseconds; longer where a dump takes long.
  init(period: Int64, log: Logger) throws(SystemError) {
    dump = try SocketDump()
    facts = try BoundedQueue(capacity: Self.queueCapacity)
    wake = try EventCounter()
    self.period = period
    self.log = log
  }

  /// Without flows there is nothing to look for.
  func setHasFlows(_ hasFlows: Bool) { wishes.withLock { $0.hasFlows = hasFlows } }

  /// Has the next dump made without waiting for its time.
  func hurry() {
    wishes.withLock { $0.isUrgent = true }
    wake.signal()
  }

  func run() async throws {
    await withGracefulShutdownHandler {
      await runOnThread(named: "sockets") { self.watch() }
    } onGracefulShutdown: {
      self.stop()
    }
    try await gracefulShutdown()
  }

  private func stop() {
    wishes.withLock { $0.isStopped = true }
    wake.signal()
    facts.close()
  }

  private func watch() {
    var number: UInt32 = 0
    var pause = period
    var hasFailed = false
    while true {
      _ = wake.wait(milliseconds: Int32(clamping: pause))
      let now = wishes.withLock { wishes in
        defer { wishes.isUrgent = false }
        return wishes
      }
      if now.isStopped { return }
      pause = period
      guard now.hasFlows else { continue }
      number = (number + 1) & 0x3fff_ffff
      let began = Moment.now()
      do {
        guard try tell(number, began) else { return }
        hasFailed = false
      } catch {
        if !hasFailed { log.warning("cannot look at sockets", metadata: ["error": "\(error)"]) }
        hasFailed = true
      }
      let took = MonotonicTime.now().microseconds(since: began.monotonic) / 1000
      pause = max(period, min(took * Self.idleShare, Self.longestPause))
    }
  }

  /// Makes one dump.
  ///
  /// - Returns: false where nobody takes its facts any more.
  private func tell(_ number: UInt32, _ began: Moment) throws(SystemError) -> Bool {
    var batch: ContiguousArray<SocketFact> = []
    batch.reserveCapacity(Self.batchSize)
    var isOpen = true
    try dump.forEach(.tcp) { socket in
      guard isOpen, socket.isConnection else { return }
      batch.append(.seen(socket.key, socket.bytes, dump: number))
      guard batch.count == Self.batchSize else { return }
      isOpen = facts.add(batch)
      batch.removeAll(keepingCapacity: true)
    }
    batch.append(.dumped(number, began: began))
    return isOpen && facts.add(batch)
  }
}
