internal import Glibc

/// Another program, run to its end.
public enum ChildProcess {
  /// Runs a program that is found by $PATH, with this process's streams.
  ///
  /// - Parameter isQuiet: what it prints goes nowhere.
  /// - Returns: its exit status; 128 and the signal's number where a signal ended it, as a shell has it.
  /// - Throws: ENOENT where there is no such program.
  public static func run(_ words: [String], isQuiet: Bool = false) throws(SystemError) -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if isQuiet {
      for stream in [STDOUT_FILENO, STDERR_FILENO] {
        posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_WRONLY, 0)
      }
    }
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { (word: String) in strdup(word) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var pid = pid_t()
    let failed = posix_spawnp(&pid, words[0], &actions, nil, &arguments, environ)
    guard failed == 0 else { throw SystemError("run", words[0], code: failed) }
    var status: Int32 = 0
    try system("wait for", words[0]) { waitpid(pid, &status, 0) }
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
  }
}
