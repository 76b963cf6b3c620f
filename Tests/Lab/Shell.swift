import CLinux
import Glibc
public import Linux

/// Runs a shell command line in the calling thread's namespace.
///
/// - Returns: what it printed.
/// - Throws: `ENOEXEC` with the command and its output where it exits with another status than 0.
@discardableResult
public func shell(_ command: String) throws(SystemError) -> String {
  var ends: [Int32] = [0, 0]
  try system("pipe2") { clinux_pipe2(&ends, O_CLOEXEC) }
  let reading = Descriptor(owning: ends[0])
  let writing = Descriptor(owning: ends[1])
  let pid = try startShell(command, output: writing.raw)
  close(writing.take())
  var output: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while true {
    let count = try system("read") { read(reading.raw, &chunk, chunk.count) }
    if count == 0 { break }
    output += chunk[..<count]
  }
  var status: Int32 = 0
  try system("waitpid") { waitpid(pid, &status, 0) }
  let text = String(decoding: output, as: UTF8.self)
  guard status == 0 else { throw SystemError(command, "printed: \(text)", code: ENOEXEC) }
  return text
}

/// Starts a shell command line in the calling thread's namespace; the result is its process.
///
/// - Parameter output: where standard output and error go; nil leaves them.
public func startShell(_ command: String, output: Int32? = nil) throws(SystemError) -> Int32 {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  if let output {
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
  }
  // Swift's pool threads block signals, and a shell that inherits that waits for its children for ever.
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var none = sigset_t()
  sigemptyset(&none)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
  var argv: [UnsafeMutablePointer<CChar>?] = ["/bin/sh", "-c", command].map { (text: String) in strdup(text) }
  argv.append(nil)
  defer { for argument in argv { free(argument) } }
  var pid = pid_t()
  let failed = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &argv, environ)
  guard failed == 0 else { throw SystemError("posix_spawn", command, code: failed) }
  return pid
}
