internal import Glibc

/// The kernel's lockdown (kernel_lockdown(7)).
public enum Lockdown {
  /// A yes is that lockdown does not stand in the way: at neither level does it refuse programs that only handle
  /// packets. It is told because administrators ask for it when something is refused.
  public static func finding() -> Finding {
    do throws(SystemError) {
      let text = try contents(ofSmallFile: "/sys/kernel/security/lockdown")
      // "none [integrity] confidentiality": the brackets have the level in effect.
      let level = text.split(separator: "[").last?.split(separator: "]").first.map(String.init) ?? "none"
      return .yes(level == "none" ? "not locked down" : "level \(level), which allows programs for packets")
    } catch {
      guard error.code == ENOENT else { return .untried("\(error)") }
      return .yes("this kernel has no lockdown, or securityfs is not mounted")
    }
  }
}

/// A file of a few kilobytes, as /proc and /sys have them.
public func contents(ofSmallFile path: String) throws(SystemError) -> String {
  let file = try Descriptor("open", path) { open(path, O_RDONLY | O_CLOEXEC) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while true {
    let count = try system("read", path) { read(file.raw, &chunk, chunk.count) }
    if count == 0 { return String(decoding: bytes, as: UTF8.self) }
    bytes += chunk[..<count]
  }
}
