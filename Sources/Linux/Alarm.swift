internal import CLinux

/// A timerfd (timerfd_create(2)) that goes off once: readable from then on, until it is set again or cleared.
public struct Alarm: ~Copyable, Sendable {
  private let owner: Descriptor

  public init() throws(SystemError) {
    owner = try Descriptor("timerfd_create") { clinux_timerfd() }
  }

  public var descriptor: Int32 { owner.raw }

  /// Goes off in so many microseconds, at least one.
  public func set(microseconds: Int64) { _ = clinux_timerfd_set(owner.raw, max(microseconds, 1)) }

  /// Makes the descriptor unreadable until the alarm is set again and goes off.
  public func clear() { _ = clinux_timerfd_set(owner.raw, 0) }
}
