internal import CLinux
internal import Glibc

/// The reading end of a named pipe (fifo(7)). One that was made here is removed at the end, so that writers find out
/// that nobody reads instead of waiting for ever.
public struct NamedPipe: ~Copyable, Sendable {
  public let path: String
  private let owner: Descriptor
  private let isOurs: Bool
  /// Which file the pipe is: the path may lead to another by the end.
  private let device: dev_t
  private let inode: ino_t

  /// Makes the pipe and its folder where they are missing.
  ///
  /// - Parameter mode: permissions of a pipe that is made, regardless of the umask.
  /// - Throws: EEXIST where something else than a pipe has that path; it is left alone. EWOULDBLOCK where another process
  ///   that locks it reads the pipe.
  public init(_ path: String, mode: UInt32) throws(SystemError) {
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      try Self.makeFolder(String(path[..<slash]))
    }
    let made = mkfifo(path, mode) == 0
    if !made, errno != EEXIST { throw SystemError("make named pipe", path) }
    if made { try system("chmod", path) { chmod(path, mode) } }
    var status = stat()
    try system("stat", path) { stat(path, &status) }
    guard status.st_mode & S_IFMT == S_IFIFO else {
      throw SystemError("use as a named pipe, but it is something else; remove it:", path, code: EEXIST)
    }
    // Opened for reading only, the end of the last writer is seen; non-blocking, it does not wait for the first.
    let opened = try Descriptor("open", path) { open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) }
    // Two readers of one pipe would tear each other's lines.
    guard flock(opened.raw, LOCK_EX | LOCK_NB) == 0 else {
      throw SystemError("read from a pipe that another process reads already:", path)
    }
    owner = opened
    device = status.st_dev
    inode = status.st_ino
    self.path = path
    isOurs = made
  }

  deinit {
    if isOurs, isAt(path) { unlink(path) }
  }

  /// Whether a path leads to this pipe.
  public func isAt(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_dev == device && status.st_ino == inode
  }

  public var descriptor: Int32 { owner.raw }

  private static func makeFolder(_ path: String) throws(SystemError) {
    if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
      throw SystemError("make folder", path)
    }
    try makeFolder(String(path[..<slash]))
    if mkdir(path, 0o755) != 0, errno != EEXIST { throw SystemError("make folder", path) }
  }
}
