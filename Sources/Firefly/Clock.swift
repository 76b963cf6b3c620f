import Flow
import Glibc

extension MonotonicTime {
  static func now() -> MonotonicTime {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return MonotonicTime(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  func advanced(milliseconds: Int64) -> MonotonicTime {
    MonotonicTime(nanoseconds: nanoseconds + UInt64(max(milliseconds, 0)) * 1_000_000)
  }
}
