internal import CLinux
internal import Glibc

/// The limit on memory that cannot be swapped out, RLIMIT_MEMLOCK (getrlimit(2)).
public enum LockedMemory {
  /// The soft limit, bytes; `UInt64.max` is no limit.
  public static func limit() throws(SystemError) -> UInt64 {
    var soft: UInt64 = 0
    var hard: UInt64 = 0
    try system("getrlimit", "RLIMIT_MEMLOCK") { clinux_memlock(&soft, &hard) }
    return soft
  }

  /// Runs the body with another soft limit, bytes. The limit is the process's, not the thread's.
  public static func limited<T>(
    to limit: UInt64, _ body: () throws(SystemError) -> T
  ) throws(SystemError) -> T {
    let before = try self.limit()
    try system("setrlimit", "RLIMIT_MEMLOCK") { clinux_memlock_soft(limit) }
    defer { _ = clinux_memlock_soft(before) }
    return try body()
  }

  /// Lifts the limit as the daemon does, and says what it is then.
  public static func attempt() -> Attempt {
    let before = try? limit()
    let failure = clinux_memlock_unlimited() == 0 ? nil : SystemError("setrlimit", "RLIMIT_MEMLOCK")
    let was = before.map(words) ?? "unknown"
    return Attempt(
      "locked memory without limit",
      failure.map {
        .no(
          "\($0); it stays \(was), which counts for AF_XDP, and for BPF before Linux 5.11",
          needs: "CAP_SYS_RESOURCE, or LimitMEMLOCK=infinity, where it is too little")
      } ?? .yes(before == .max ? "" : "it was \(was)"))
  }

  static func words(_ bytes: UInt64) -> String { bytes == .max ? "unlimited" : "\(bytes >> 10) KiB" }
}
