internal import Glibc

/// The version 2 hierarchy of control groups (cgroups(7)).
public enum ControlGroup {
  /// The folder of the calling process's group; nil where the hierarchy is not mounted, or the group is not in what
  /// is mounted of it.
  public static func own() throws(SystemError) -> String? {
    let mounts = try Mount.all(ofType: "cgroup2")
    return path(in: try contents(ofSmallFile: "/proc/self/cgroup"), mounts.map { ($0.root, $0.point) })
  }

  /// The folder of the group that all others are in, as far as this process sees them; nil where the hierarchy is not
  /// mounted.
  public static func root() throws(SystemError) -> String? {
    let mounts = try Mount.all(ofType: "cgroup2")
    return (mounts.last { $0.root == "/" } ?? mounts.last)?.point
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
