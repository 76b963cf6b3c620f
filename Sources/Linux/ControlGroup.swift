internal import Glibc

/// The version 2 hierarchy of control groups (cgroups(7)).
public enum ControlGroup {
  /// The folder of the calling process's group; nil where the hierarchy is not mounted, or the group is not in what
  /// is mounted of it.
  public static func own() throws(SystemError) -> String? {
    let mounts = try Mount.all(ofType: "cgroup2")
    return path(in: try contents(ofSmallFile: "/proc/self/cgroup"), mounts.map { ($0.root, $0.point) })
  }

  /// Where the root of the hierarchy is mounted, or what of it is; nil where nothing is.
  public static func mountPoint() throws(SystemError) -> String? {
    try Mount.all(ofType: "cgroup2").last?.point
  }

  /// The numbers, by which the kernel names them, of a group and all below it; none where there is no such folder.
  public static func numbers(below folder: String) -> Set<UInt64> {
    var numbers: Set<UInt64> = []
    var folders = [folder]
    while let folder = folders.popLast() {
      var status = stat()
      // A group's number is that of its folder, on machines of 64 bits.
      guard lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
      numbers.insert(UInt64(status.st_ino))
      forEachEntry(of: folder) { name, isFolder in if isFolder { folders.append("\(folder)/\(name)") } }
    }
    return numbers
  }

  /// - Parameters:
  ///   - listing: /proc/self/cgroup. The line of version 2 is "0::" and the path.
  ///   - mounts: what of the hierarchy is mounted, and where.
  static func path(in listing: String, _ mounts: [(root: String, point: String)]) -> String? {
    guard let line = listing.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }) else { return nil }
    let group = String(line.dropFirst(3))
    // ".." is a group outside of this cgroup namespace.
    guard !group.hasPrefix("/..") else { return nil }
    for mount in mounts.reversed() {
      let root = mount.root == "/" ? "" : mount.root
      if group == mount.root || group.hasPrefix(root + "/") {
        return mount.point + (group == "/" ? "" : String(group.dropFirst(root.count)))
      }
    }
    return nil
  }
}
