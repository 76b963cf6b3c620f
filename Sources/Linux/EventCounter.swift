internal import CLinux
internal import Glibc

/// An eventfd (eventfd(2)): one thread wakes another that waits in poll or epoll.
public struct EventCounter: ~Copyable, Sendable {
  private let owner: Descriptor

  public init() throws(SystemError) {
    owner = try Descriptor("eventfd") { eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK)) }
  }

  /// Makes sure that so many more descriptors can be had.
  public static func requireSpare(_ count: Int) throws(SystemError) {
    guard count > 0 else { return }
    let one = try EventCounter()
    try requireSpare(count - 1)
    // It is held until all of them are.
    one.clear()
  }

  /// Readable while signals are pending.
  public var descriptor: Int32 { owner.raw }

  /// Makes the descriptor readable. Never blocks: a counter that is full is readable anyway.
  public borrowing func signal() {
    var one: UInt64 = 1
    _ = write(owner.raw, &one, MemoryLayout<UInt64>.size)
  }

  /// Takes back all signals.
  public borrowing func clear() {
    var count: UInt64 = 0
    _ = read(owner.raw, &count, MemoryLayout<UInt64>.size)
  }

  /// Waits for a signal and clears it.
  ///
  /// - Parameter milliseconds: the longest wait; negative waits for ever.
  /// - Returns: false where the time ran out.
  @discardableResult
  public borrowing func wait(milliseconds: Int32 = -1) -> Bool {
    guard waitWithoutClearing(milliseconds: milliseconds) else { return false }
    clear()
    return true
  }

  /// Waits for a signal and leaves it pending, for whoever clears it under a lock.
  @discardableResult
  public borrowing func waitWithoutClearing(milliseconds: Int32 = -1) -> Bool {
    var ready = pollfd(fd: owner.raw, events: Int16(POLLIN), revents: 0)
    return poll(&ready, 1, milliseconds) > 0
  }
}
