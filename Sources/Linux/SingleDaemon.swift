internal import Glibc

/// Makes sure that a network namespace has one daemon: two would mark by two tables, and each undo what the other does.
///
/// A file is locked for as long as the process lives, whatever ends it; what a dead one has left is no obstacle.
public final class SingleDaemon: Sendable {
  private let path: String
  private let file: Descriptor

  /// - Parameter folder: where the file is, made if it is not there.
  /// - Throws: `AnotherDaemon` where one runs here; `SystemError` where no file can be made or locked.
  public init(in folder: String = "/run/marker") throws {
    path = "\(folder)/net-\(try NetworkNamespaceID.own()).pid"
    if mkdir(folder, 0o755) != 0, errno != EEXIST { throw SystemError("mkdir", folder) }
    file = try Self.locked(path)
    // The number is for the message that a second daemon ends with. The lock is what counts, so a full disk costs no more
    // than the number.
    let text = Array("\(getpid())\n".utf8)
    if ftruncate(file.raw, 0) == 0 { _ = write(file.raw, text, text.count) }
  }

  deinit { unlink(path) }

  private static func locked(_ path: String) throws -> Descriptor {
    while true {
      let file = try Descriptor("open", path) { open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644) }
      guard flock(file.raw, LOCK_EX | LOCK_NB) == 0 else {
        guard errno == EWOULDBLOCK else { throw SystemError("flock", path) }
        throw AnotherDaemon(pid: (try? contents(ofSmallFile: path)).flatMap { Int32($0.filter(\.isNumber)) })
      }
      // Whoever had it may have removed it before the lock was ours: then it is a file that nobody else will find.
      var (ours, there) = (stat(), stat())
      if fstat(file.raw, &ours) == 0, stat(path, &there) == 0, ours.st_ino == there.st_ino { return file }
    }
  }

}

/// A daemon runs in this network namespace already.
public struct AnotherDaemon: Error, CustomStringConvertible {
  /// Nil where it has just started, or is just ending.
  public let pid: Int32?

  public var description: String {
    "a daemon runs here already\(pid.map { ", process \($0)" } ?? ""); stop it first, or send it SIGHUP to read its configuration again"
  }
}
