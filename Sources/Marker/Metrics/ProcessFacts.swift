import Glibc

/// What the kernel tells of this process (proc(5)).
struct ProcessFacts {
  /// Seconds.
  let processorTime: Double
  let residentBytes: Int
  let virtualBytes: Int
  let descriptors: Int
  let descriptorLimit: Int
  /// Since 1970, seconds.
  let start: Double

  /// Nil where /proc is not there.
  static func current() -> ProcessFacts? {
    guard let stat = read("/proc/self/stat"), let end = stat.lastIndex(of: ")"),
      let boot = read("/proc/stat")?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
      let bootTime = Double(boot.dropFirst("btime ".count))
    else { return nil }
    // From the third field on: the second may have anything in it.
    let fields = stat[stat.index(after: end)...].split(separator: " ").map { Double($0) ?? 0 }
    guard fields.count > 21 else { return nil }
    let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return ProcessFacts(
      processorTime: (fields[11] + fields[12]) / ticks,
      residentBytes: Int(fields[21]) * sysconf(Int32(_SC_PAGESIZE)), virtualBytes: Int(fields[20]),
      descriptors: openDescriptors, descriptorLimit: Int(clamping: limit.rlim_cur),
      start: bootTime + fields[19] / ticks)
  }

  private static var openDescriptors: Int {
    guard let folder = opendir("/proc/self/fd") else { return 0 }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    // The folder itself and its two points.
    return max(count - 3, 0)
  }

  private static func read(_ path: String) -> String? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
    return String(decoding: bytes, as: UTF8.self)
  }
}
