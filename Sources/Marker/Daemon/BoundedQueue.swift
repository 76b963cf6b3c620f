import Linux
import Synchronization

/// A queue between threads that makes its producers wait when it is full: nothing that was accepted is lost.
///
/// One consumer takes everything at once and hands back the buffer it emptied, so that in steady state nothing is
/// allocated.
final class BoundedQueue<Element: Sendable>: Sendable {
  private struct State {
    var elements: ContiguousArray<Element> = []
    var isClosed = false
    /// How many producers wait for room.
    var waiting = 0
  }
  private let state: Mutex<State>
  private let capacity: Int
  private let filled: EventCounter
  private let drained: EventCounter

  /// - Parameter capacity: once this many elements wait, producers do too. A batch is never split, so the queue may
  ///   hold one batch more.
  init(capacity: Int) throws(SystemError) {
    self.capacity = capacity
    state = Mutex(State())
    filled = try EventCounter()
    drained = try EventCounter()
  }

  /// Readable while elements wait, or the queue is closed: for a consumer that waits for other things too.
  var descriptor: Int32 { filled.descriptor }

  /// Adds a batch, waiting for room.
  ///
  /// - Returns: false where the queue is closed; the batch was not taken.
  func add(_ batch: ContiguousArray<Element>) -> Bool {
    if batch.isEmpty { return true }
    var waited = false
    while true {
      let result: Bool? = state.withLock { state in
        if waited { state.waiting -= 1 }
        waited = false
        // One signal wakes one producer, which passes it on: there may be room for the next, or nothing to wait for.
        if state.isClosed {
          if state.waiting > 0 { drained.signal() }
          return false
        }
        guard state.elements.count < capacity else {
          state.waiting += 1
          waited = true
          return nil
        }
        if state.elements.isEmpty { filled.signal() }
        state.elements.append(contentsOf: batch)
        if state.waiting > 0 { drained.signal() }
        return true
      }
      if let result { return result }
      drained.wait()
    }
  }

  /// Takes all that waits in exchange for an empty buffer, without waiting.
  ///
  /// - Returns: false once the queue is closed and empty.
  func take(into buffer: inout ContiguousArray<Element>) -> Bool {
    buffer.removeAll(keepingCapacity: true)
    return state.withLock { state in
      swap(&state.elements, &buffer)
      if state.isClosed { return !buffer.isEmpty }
      filled.clear()
      if state.waiting > 0 { drained.signal() }
      return true
    }
  }

  /// Waits until something can be taken or the queue is closed.
  func wait() { filled.waitWithoutClearing() }

  /// Refuses what comes from now on; what is in the queue can still be taken.
  func close() {
    state.withLock { $0.isClosed = true }
    filled.signal()
    drained.signal()
  }
}
