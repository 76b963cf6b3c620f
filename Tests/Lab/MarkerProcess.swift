import Glibc
public import Linux
import Synchronization

/// The built daemon, running in a namespace, with a folder of its own for pipes.
public final class MarkerProcess: Sendable {
  public let folder: String
  private let pid: pid_t
  /// Its end was waited for: from then on the number may be another process's.
  private let hasEnded = Mutex(false)

  /// The products stand beside the running test.
  public static var binary: String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count - 1)
    let text = String(decoding: path.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard let slash = text.lastIndex(of: "/") else { return "marker" }
    let beside = "\(text[..<slash])/marker"
    return access(beside, X_OK) == 0 ? beside : ".build/debug/marker"
  }

  /// Starts it and waits until it is ready.
  ///
  /// - Parameters:
  ///   - arguments: `PIPE` in them stands for a path in its folder, `CONFIG` for that of its configuration,
  ///     `API` for that of a socket. Without `--api` none is served: the usual addresses are one host's. Without
  ///     `--cgroup` it sets the sockets of this process's own group. Marks go with it, unless `KEEP` is in them.
  ///   - configuration: the contents of that file, in which `PIPE` stands for the same.
  ///   - wrapper: starts it with less than this process has; `MARKER` in it stands for the daemon. Must become it.
  ///   - binary: another copy of it.
  ///   - version: of what it keeps, other than the current one; debug builds only.
  /// - Throws: with its log, where it ends or does not get ready in ten seconds.
  public init(
    _ arguments: String, configuration: String? = nil, in namespace: NetworkNamespace,
    by wrapper: String = "MARKER", binary: String = MarkerProcess.binary,
    version: Int? = nil
  ) throws(SystemError) {
    let folder = try shell("mktemp -d /tmp/marker-lab-XXXXXX").filter { $0 != "\n" }
    self.folder = folder
    if let configuration { try Self.save(configuration, folder) }
    let arguments =
      arguments.replacing("PIPE", with: "\(folder)/pipe").replacing(
        "CONFIG", with: "\(folder)/marker.yaml"
      ).replacing("API", with: "\(folder)/api").replacing("KEEP", with: "")
      + (arguments.contains("--api") || !arguments.contains("--") ? "" : " --api none")
      + (arguments.contains("KEEP") || !arguments.contains("--") ? "" : " --clean")
      + ("\(arguments) \(configuration ?? "")".contains("cgroup") || !arguments.contains("--")
        ? "" : " --cgroup \(ProcessGroup.folder)")
    let environment = version.map { "env MARKER_STATE_VERSION=\($0) " } ?? ""
    let daemon = "\(environment)\(binary) \(arguments)"
    let command = "exec \(wrapper.replacing("MARKER", with: daemon)) 2>\(folder)/log"
    pid = try namespace.run { () throws(SystemError) in try startShell(command) }
    for _ in 0..<1000 {
      if log.contains("msg=ready") { return }
      var status: Int32 = 0
      guard waitpid(pid, &status, WNOHANG) == 0 else {
        hasEnded.withLock { $0 = true }
        throw SystemError("marker ended: \(log)", code: ECHILD)
      }
      usleep(10_000)
    }
    throw SystemError("marker is not ready: \(log)", code: ETIMEDOUT)
  }

  deinit {
    if !hasEnded.withLock({ $0 }) {
      kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }
    _ = try? shell("rm -rf \(folder)")
  }

  /// Writes its configuration, as an editor does, and has it read again.
  public func configure(_ text: String) throws(SystemError) {
    try Self.save(text, folder)
    try system("kill") { kill(pid, SIGHUP) }
  }

  private static func save(_ text: String, _ folder: String) throws(SystemError) {
    let path = "\(folder)/marker.yaml"
    let bytes = Array(text.replacing("PIPE", with: "\(folder)/pipe").utf8)
    do {
      let file = try Descriptor("open", path) {
        open("\(path).new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
      }
      try system("write", path) { Glibc.write(file.raw, bytes, bytes.count) }
    }
    try system("rename", path) { rename("\(path).new", path) }
  }

  /// The process that was started: the daemon, or what it was started by.
  public var number: Int32 { pid }

  /// Where its API is, if it was started with `--api API`.
  public var api: String { "\(folder)/api" }

  public var pipe: String { "\(folder)/pipe" }

  public var log: String { (try? shell("cat \(folder)/log")) ?? "" }

  /// Resident memory, kilobytes.
  public var residentKilobytes: Int {
    get throws(SystemError) {
      Int(try shell("awk '/VmRSS/{print $2}' /proc/\(pid)/status").filter(\.isNumber)) ?? 0
    }
  }

  /// Seconds of processor time that it has used, by all its threads.
  public var processorTime: Double {
    get throws(SystemError) {
      // Fields 14 and 15 of stat(5) are in clock ticks, which are hundredths.
      (Double(try shell("awk '{print $14 + $15}' /proc/\(pid)/stat").filter(\.isNumber)) ?? 0) / 100
    }
  }

  /// How many descriptors it has open.
  public var openDescriptors: Int {
    get throws(SystemError) { Int(try shell("ls /proc/\(pid)/fd | wc -l").filter(\.isNumber)) ?? 0 }
  }

  /// Writes to its pipe.
  public func tell(_ lines: String) throws(SystemError) {
    let fd = try Descriptor("open", pipe) { open(pipe, O_WRONLY | O_CLOEXEC) }
    let bytes = Array(lines.utf8)
    var offset = 0
    while offset < bytes.count {
      offset += try system("write", pipe) {
        bytes.withUnsafeBytes { write(fd.raw, $0.baseAddress.map { $0 + offset }, bytes.count - offset) }
      }
    }
  }

  /// Waits until the log has a text, at most five seconds.
  public func waitForLog(_ text: String, seconds: Int = 5) -> Bool {
    for _ in 0..<seconds * 100 {
      if log.contains(text) { return true }
      usleep(10_000)
    }
    return false
  }

  /// Sends a signal and does not wait.
  public func signal(_ number: Int32) { kill(pid, number) }

  /// Sends a signal, by default SIGTERM, and waits for the end.
  ///
  /// - Returns: the exit status, or nil where it does not end within ten seconds or a signal ended it.
  public func stop(_ signal: Int32 = 15) -> Int32? {
    kill(pid, signal)
    for _ in 0..<1000 {
      var status: Int32 = 0
      if waitpid(pid, &status, WNOHANG) == pid {
        hasEnded.withLock { $0 = true }
        return status & 0x7f == 0 ? status >> 8 & 0xff : nil
      }
      usleep(10_000)
    }
    return nil
  }
}
