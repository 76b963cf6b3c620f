public import Synchronization

/// What a packet thread has done; read by any thread.
public final class InlineCounters: Sendable {
  /// Frames that the thread took from the inside.
  public let received = Atomic<UInt64>(0)
  /// Frames that left by the outside.
  public let sent = Atomic<UInt64>(0)
  /// Frames that the thread was too slow to take; they are lost.
  public let overflowed = Atomic<UInt64>(0)
  /// Frames that the outside did not take, because its queue was full or the device down; they are lost.
  public let unsent = Atomic<UInt64>(0)
  /// Checksums that the sender had left to its device, and that were filled in.
  public let completedChecksums = Atomic<UInt64>(0)

  init() {}

  static func add(_ count: Int, to counter: borrowing Atomic<UInt64>) {
    if count > 0 { counter.wrappingAdd(UInt64(count), ordering: .relaxed) }
  }
}
