public import Flow
internal import Glibc

extension MonotonicTime {
  /// Counts from the host's boot and includes sleep (CLOCK_BOOTTIME).
  public static func now() -> MonotonicTime {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return MonotonicTime(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }
}

extension WallClockTime {
  public static func now() -> WallClockTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return WallClockTime(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
  }
}

extension Moment {
  /// Both clocks, now.
  public static func now() -> Moment { Moment(wall: .now(), monotonic: .now()) }
}
