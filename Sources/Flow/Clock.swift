/// A point in time as people and fireflies write it. It may jump with the host's clock.
public struct WallClockTime: Comparable, Hashable, Sendable {
  /// Microseconds since 1970-01-01T00:00:00Z, without leap seconds.
  public let microseconds: Int64

  public init(microseconds: Int64) { self.microseconds = microseconds }

  public static func < (left: Self, right: Self) -> Bool { left.microseconds < right.microseconds }
}

/// A point in time that never jumps: ages are measured with it.
public struct MonotonicTime: Comparable, Hashable, Sendable {
  /// Nanoseconds since an arbitrary moment, the host's boot on Linux.
  public let nanoseconds: UInt64

  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

  /// Later by so many milliseconds.
  public func advanced(milliseconds: Int64) -> MonotonicTime {
    MonotonicTime(nanoseconds: nanoseconds + UInt64(max(milliseconds, 0)) * 1_000_000)
  }

  /// Microseconds that have passed since `earlier`; 0 where it is later.
  public func microseconds(since earlier: MonotonicTime) -> Int64 {
    earlier < self ? Int64((nanoseconds - earlier.nanoseconds) / 1000) : 0
  }
}

/// Both clocks, read together.
public struct Moment: Equatable, Sendable {
  public let wall: WallClockTime
  public let monotonic: MonotonicTime

  public init(wall: WallClockTime, monotonic: MonotonicTime) {
    self.wall = wall
    self.monotonic = monotonic
  }

  /// What the wall clock would have shown at `earlier`, had it not been set since.
  public func wall(at earlier: MonotonicTime) -> WallClockTime {
    WallClockTime(microseconds: wall.microseconds - monotonic.microseconds(since: earlier))
  }
}
