import Glibc
public import Linux

/// A control group for the sockets of one test, gone with this value.
///
/// It is threaded, so that single threads of the test's process can be in it (cgroups(7), "Thread mode"). What such a
/// thread starts, threads and processes, is in it too, and a socket is where it was made.
public final class LabGroup: Sendable {
  public let folder: String
  /// Below the mount point, as rules name it.
  public let path: String

  public init() throws(SystemError) {
    guard let mount = try ControlGroup.mountPoint() else {
      throw SystemError("cgroup2 is not mounted", code: ENOENT)
    }
    let folder = try shell("mktemp -d \(ProcessGroup.folder)/lab-XXXXXX").filter { $0 != "\n" }
    self.folder = folder
    path = String(folder.dropFirst(mount.utf8.count))
    try shell("echo threaded > \(folder)/cgroup.type")
  }

  deinit {
    // The last thread may be ending just now.
    _ = try? shell("for i in $(seq 300); do rmdir \(folder) 2>/dev/null && break; sleep 0.01; done")
  }

  /// Runs the body in the group.
  public func run<T: ~Copyable>(_ body: () throws -> T) throws -> T {
    let path = "\(folder)/cgroup.threads"
    return try onThread { () throws -> T in
      do {
        let file = try Descriptor("open", path) { open(path, O_WRONLY | O_CLOEXEC) }
        // Nought is the thread that writes it.
        try system("write", path) { write(file.raw, "0", 1) }
      }
      return try body()
    }
  }
}
