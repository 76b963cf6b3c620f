internal import Glibc
internal import Linux

/// The clock of `bpf_ktime_get_ns`: CLOCK_MONOTONIC of the host.
enum BPFClock {
  /// Nanoseconds, the same for a program in the kernel also where this process is in a time namespace, which shifts the
  /// clock that it sees (time_namespaces(7)).
  static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    let seen = Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    return UInt64(clamping: seen - shift)
  }

  /// By how much this process sees it shifted. The file is not there before Linux 5.6, nor are the namespaces.
  private static let shift: Int64 = {
    guard let text = try? contents(ofSmallFile: "/proc/self/timens_offsets") else { return 0 }
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count == 3, fields[0] == "monotonic", let seconds = Int64(fields[1]),
        let nanoseconds = Int64(fields[2])
      else { continue }
      return seconds * 1_000_000_000 + nanoseconds
    }
    return 0
  }()
}
