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

  /// Of AF_XDP's frames, those that nobody has, that the kernel receives into, and that it sends from: together they are
  /// all that there are.
  public let freeFrames = Atomic<UInt64>(0)
  public let receivingFrames = Atomic<UInt64>(0)
  public let sendingFrames = Atomic<UInt64>(0)
  /// Frames that were where the books did not have them.
  public let frameFaults = Atomic<UInt64>(0)

  init() {}

  func note(_ memory: borrowing FrameMemory) {
    freeFrames.store(UInt64(memory.free), ordering: .relaxed)
    receivingFrames.store(UInt64(memory.receiving), ordering: .relaxed)
    sendingFrames.store(UInt64(memory.sending), ordering: .relaxed)
    frameFaults.store(UInt64(memory.faults), ordering: .relaxed)
  }

  static func add(_ count: Int, to counter: borrowing Atomic<UInt64>) {
    if count > 0 { counter.wrappingAdd(UInt64(count), ordering: .relaxed) }
  }
}
