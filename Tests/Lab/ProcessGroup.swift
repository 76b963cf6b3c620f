import Flow
import Glibc
import Linux

/// A control group of this test process's own, so that no program is attached to a group that others are in. The process
/// and all that it starts are in it; sockets are of the group in which they were made.
public enum ProcessGroup {
  /// Its folder. The first who asks moves the process into it; it goes with the process.
  public static let folder = enter()

  private static func enter() -> String {
    guard let above = try? ControlGroup.own() else { preconditionFailure("no cgroup2 is mounted") }
    let folder = "\(above)/marker-lab-\(getpid())"
    mkdir(folder, 0o755)
    precondition(move(to: folder), "cannot enter \(folder): errno \(errno)")
    atexit {
      let folder = ProcessGroup.folder
      if let slash = folder.lastIndex(of: "/") { _ = ProcessGroup.move(to: String(folder[..<slash])) }
      rmdir(folder)
    }
    return folder
  }

  private static func move(to folder: String) -> Bool {
    let procs = open("\(folder)/cgroup.procs", O_WRONLY | O_CLOEXEC)
    guard procs >= 0 else { return false }
    defer { close(procs) }
    // 0 is the process that writes.
    return write(procs, "0", 1) == 1
  }
}
