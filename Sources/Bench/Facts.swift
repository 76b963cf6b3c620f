import BenchReport
import Foundation
import Glibc
import Lab

extension Machine {
  /// This machine, now, and the tree that the running program was built in.
  static func current() throws -> Machine {
    let (processor, isVirtual) = processor(cpuinfo: try shell("cat /proc/cpuinfo"))
    var load = [0.0, 0, 0]
    let count = Int(getloadavg(&load, 3))
    return Machine(
      processor: processor, processors: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
      architecture: try line("uname -m"), isVirtual: isVirtual, kernel: try line("uname -r"),
      swift: swift(version: answer("swift --version")),
      load: Array(load.prefix(max(0, count))), commit: builtCommit(), date: Date.now.formatted(.iso8601))
  }

  /// Without git, or away from the tree, it is "unknown".
  private static func builtCommit() -> String {
    let tree = "git -C \"$(dirname \"$(readlink -f /proc/\(getpid())/exe)\")\""
    let hash = answer("\(tree) rev-parse --short HEAD")
    guard !hash.isEmpty else { return "unknown" }
    return answer("\(tree) status --porcelain").isEmpty ? hash : "\(hash)+changes"
  }

  private static func line(_ command: String) throws -> String {
    try shell(command).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// What a program says on standard output that may be missing or fail; empty where it does.
  private static func answer(_ command: String) -> String {
    (try? line("\(command) 2>/dev/null")) ?? ""
  }

  /// Where a whole page of this run is kept.
  var file: String {
    let moment = date.map { $0 == "T" ? "-" : $0 }.filter { $0 != ":" && $0 != "Z" }
    return "build/bench/\(String(moment))-\(commit).json"
  }
}
