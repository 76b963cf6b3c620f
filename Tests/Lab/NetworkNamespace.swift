import CLinux
import Flow
import Glibc
public import Linux

/// An anonymous network namespace: gone with its last descriptor, also after a crash.
///
/// `setns` moves one thread, and Swift's tasks hop between threads; so everything that must happen inside
/// runs on a thread of its own. Sockets, BPF links and child processes made there belong to the namespace for
/// good and may be used from anywhere.
public final class NetworkNamespace: Sendable {
  private let descriptor: Descriptor

  public init() throws(SystemError) {
    descriptor = try onThread { () throws(SystemError) -> Descriptor in
      try system("unshare") { clinux_unshare_net() }
      return try Descriptor("open", "/proc/thread-self/ns/net") {
        open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
      }
    }
    try shell("ip link set lo up")
  }

  /// A path that `nsenter --net=` and `ip link set … netns` take.
  public var path: String { "/proc/\(getpid())/fd/\(descriptor.raw)" }

  /// Runs the body inside.
  public func run<T: ~Copyable, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
    let fd = descriptor.raw
    return try onThread { () throws(E) -> T in
      precondition(clinux_setns_net(fd) == 0, "setns: errno \(errno)")
      return try body()
    }
  }

  /// Runs a shell command line inside.
  ///
  /// - Returns: what it printed.
  /// - Throws: `ENOEXEC` with the command and its output where it exits with another status than 0.
  @discardableResult
  public func shell(_ command: String) throws(SystemError) -> String {
    try run { () throws(SystemError) -> String in try Lab.shell(command) }
  }
}

/// Runs a shell command line in the calling thread's namespace.
@discardableResult
public func shell(_ command: String) throws(SystemError) -> String {
  var ends: [Int32] = [0, 0]
  try system("pipe2") { clinux_pipe2(&ends, O_CLOEXEC) }
  let reading = Descriptor(owning: ends[0])
  let writing = Descriptor(owning: ends[1])
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, writing.raw, STDOUT_FILENO)
  posix_spawn_file_actions_adddup2(&actions, writing.raw, STDERR_FILENO)
  var argv: [UnsafeMutablePointer<CChar>?] = ["/bin/sh", "-c", command]
    .map { (text: String) in strdup(text) }
  argv.append(nil)
  defer { for argument in argv { free(argument) } }
  var pid = pid_t()
  let failed = posix_spawn(&pid, "/bin/sh", &actions, nil, &argv, environ)
  guard failed == 0 else { throw SystemError("posix_spawn", command, code: failed) }
  close(writing.take())
  var output: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while true {
    let count = try system("read", "") { read(reading.raw, &chunk, chunk.count) }
    if count == 0 { break }
    output += chunk[..<count]
  }
  var status: Int32 = 0
  try system("waitpid", "") { waitpid(pid, &status, 0) }
  let text = String(decoding: output, as: UTF8.self)
  guard status == 0 else { throw SystemError(command, "printed: \(text)", code: ENOEXEC) }
  return text
}

private final class Job {
  let run: () -> Void
  init(_ run: @escaping () -> Void) { self.run = run }
}

private func onThread<T: ~Copyable, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
  var value: T?
  var failure: E?
  withoutActuallyEscaping(body) { body in
    let job = Job {
      do throws(E) { value = try body() } catch { failure = error }
    }
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, Unmanaged.passRetained(job).toOpaque())
    precondition(status == 0, "pthread_create: \(status)")
    pthread_join(thread, nil)
  }
  if let failure { throw failure }
  guard let made = value.take() else { preconditionFailure("the thread ended without a result") }
  return made
}
