import Linux
import NIOPosix
import Synchronization

/// A thread for answers that take long, or ask the kernel: neither the table's writer nor other clients wait for them.
final class APIWorker: Sendable {
  /// Answers that may wait; further requests are refused.
  private static let capacity = 64

  private let pool = NIOThreadPool(numberOfThreads: 1)
  private let waiting = Atomic<Int>(0)

  init() { pool.start() }

  /// - Returns: false where too much waits; the body is not called then.
  func perform(_ body: @escaping @Sendable () -> Void) -> Bool {
    guard waiting.add(1, ordering: .relaxed).newValue <= Self.capacity else {
      waiting.subtract(1, ordering: .relaxed)
      return false
    }
    pool.submit { [self] state in
      waiting.subtract(1, ordering: .relaxed)
      if case .active = state { body() }
    }
    return true
  }

  func stop() { pool.shutdownGracefully { _ in } }
}
