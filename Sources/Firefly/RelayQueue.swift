public import Linux
import Synchronization

/// Where received fireflies wait to be sent on. It never makes the listener wait: what has no room is refused.
public final class RelayQueue: Sendable {
  private struct State {
    var batch = RelayBatch()
    var isClosed = false
  }
  private let state = Mutex(State())
  private let filled: EventCounter
  /// Bytes that may wait.
  private let capacity: Int

  public init(capacity: Int = 4 << 20) throws(SystemError) {
    self.capacity = capacity
    filled = try EventCounter()
  }

  /// - Returns: false where there is no room for the batch; nothing of it was taken.
  public func add(_ batch: borrowing RelayBatch) -> Bool {
    if batch.count == 0 { return true }
    return state.withLock { state in
      guard !state.isClosed, state.batch.size + batch.size <= capacity else { return false }
      if state.batch.count == 0 { filled.signal() }
      state.batch.append(batch)
      return true
    }
  }

  /// Waits for fireflies and takes all in exchange for an empty batch.
  ///
  /// - Returns: false once the queue is closed and empty.
  public func take(into batch: inout RelayBatch) -> Bool {
    batch.removeAll()
    filled.waitWithoutClearing()
    return state.withLock { state in
      swap(&state.batch, &batch)
      if state.isClosed { return batch.count > 0 }
      filled.clear()
      return true
    }
  }

  /// Refuses what comes from now on; what waits can still be taken.
  public func close() {
    state.withLock { $0.isClosed = true }
    filled.signal()
  }
}
