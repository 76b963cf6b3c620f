import Glibc
import Linux

/// Does what `marker setup` is to do, each step printed as the command that does the same by hand.
struct SetupSteps {
  /// Where the host's files are; empty for this host's. Services of another root are not started.
  let root: String
  /// Only prints.
  let isDry: Bool

  var configurationFile: String { root + Configuration.defaultFile }

  /// Writes the configuration, and keeps what was there.
  ///
  /// - Returns: whether it was another.
  func write(_ text: String) throws -> Bool {
    let path = configurationFile
    let old = try? contents(ofSmallFile: path)
    if old == text {
      print("# \(path) is as it should be")
      return false
    }
    if old != nil { try keep(path) }
    print("install -m 644 marker.yaml \(path)")
    if !isDry { try Self.save(text, path) }
    return true
  }

  /// Puts the configuration aside.
  func takeConfiguration() throws {
    guard access(configurationFile, F_OK) == 0 else { return }
    try keep(configurationFile)
    print("rm \(configurationFile)")
    if !isDry { try system("unlink", configurationFile) { unlink(configurationFile) } }
  }

  private func keep(_ path: String) throws {
    let backup = "\(path).before-\(Self.stamp())"
    print("cp -p \(path) \(backup)")
    if !isDry { try Self.save(try contents(ofSmallFile: path), backup) }
  }

  /// Through another name, so that nobody ever reads half of it.
  private static func save(_ text: String, _ path: String) throws(SystemError) {
    if let slash = path.lastIndex(of: "/"), mkdir(String(path[..<slash]), 0o755) != 0, errno != EEXIST {
      throw SystemError("mkdir", String(path[..<slash]))
    }
    let bytes = Array(text.utf8)
    let new = "\(path).new"
    do {
      let file = try Descriptor("open", new) { open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644) }
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = try system("write", new) {
          rest.withUnsafeBytes { Glibc.write(file.raw, $0.baseAddress, $0.count) }
        }
        rest = rest.dropFirst(count)
      }
      try system("fsync", new) { fsync(file.raw) }
    }
    try system("rename", path) { rename(new, path) }
  }

  private static func stamp() -> String {
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, "%Y%m%d-%H%M%S", &parts)
    return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Stops flowd-go and keeps it from starting again, where it does either.
  func stopFlowdGo() throws {
    for unit in ["flowd-go.service", "flowd.service"] {
      guard try asks("is-active", unit) || asks("is-enabled", unit) else { continue }
      try systemctl("disable", "--now", unit)
    }
  }

  /// Has the service run with the configuration as it is now.
  func start(isChanged: Bool) throws {
    if try !asks("is-enabled", "marker.service") { try systemctl("enable", "marker.service") }
    guard try asks("is-active", "marker.service") else {
      // One that failed too often would not be started.
      if try asks("is-failed", "marker.service") { try systemctl("reset-failed", "marker.service") }
      return try systemctl("start", "marker.service")
    }
    if isChanged { try systemctl("reload", "marker.service") } else { print("# marker.service runs") }
  }

  /// Stops the service for good.
  func stop() throws {
    guard try asks("is-active", "marker.service") || asks("is-enabled", "marker.service") else { return }
    try systemctl("disable", "--now", "marker.service")
  }

  /// Nothing of another root's services runs here.
  private func asks(_ question: String, _ unit: String) throws -> Bool {
    if root.isEmpty {
      return try ChildProcess.run(["systemctl", "--quiet", question, unit], isQuiet: true) == 0
    }
    guard question == "is-enabled" else { return false }
    return try ChildProcess.run(["systemctl", "--root=\(root)", "--quiet", question, unit], isQuiet: true)
      == 0
  }

  private func systemctl(_ words: String...) throws {
    var command = ["systemctl"] + words
    if !root.isEmpty {
      guard words[0] == "enable" || words[0] == "disable" else {
        print("# left out, because it is not this host's: systemctl \(words.joined(separator: " "))")
        return
      }
      command = ["systemctl", "--root=\(root)"] + words.filter { $0 != "--now" }
    }
    print(command.joined(separator: " "))
    guard !isDry else { return }
    let status = try ChildProcess.run(command)
    guard status == 0 else { throw SetupError.failed(command.joined(separator: " "), status) }
  }
}
