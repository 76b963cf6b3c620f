public import Flow
internal import Glibc

extension Moment {
  /// Both clocks, now. Monotonic time counts from the host's boot and includes sleep.
  public static func now() -> Moment {
    var wall = timespec()
    var boot = timespec()
    clock_gettime(CLOCK_REALTIME, &wall)
    clock_gettime(CLOCK_BOOTTIME, &boot)
    return Moment(
      wall: WallClockTime(
        microseconds: Int64(wall.tv_sec) * 1_000_000 + Int64(wall.tv_nsec) / 1000),
      monotonic: MonotonicTime(
        nanoseconds: UInt64(boot.tv_sec) * 1_000_000_000 + UInt64(boot.tv_nsec)))
  }
}
