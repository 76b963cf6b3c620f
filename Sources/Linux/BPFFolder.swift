internal import CLinux
internal import Glibc

/// Where a daemon of this network namespace keeps what outlives it: a folder in the BPF file system.
///
/// Pins of several namespaces and of several versions of their layout lie side by side:
/// `/sys/fs/bpf/marker/v1/net-1`.
public struct BPFFolder: Sendable {
  /// The version of what is kept. Another version's folders are left alone.
  public static let version = "v1"

  public let path: String
  private let root: String
  /// The folder of all namespaces of this version.
  private let parent: String

  /// Makes the folder, and mounts the file system where it is not mounted.
  ///
  /// - Throws: where there is no BPF file system to be had, or it cannot be written to.
  public init() throws(SystemError) {
    self.init(try Self.mounted(), try NetworkNamespaceID.own())
    for folder in [root, parent, path] {
      // Nobody else has any business with what is in there.
      guard mkdir(folder, 0o700) != 0, errno != EEXIST else { continue }
      throw SystemError("mkdir", folder)
    }
  }

  /// The folder, where it is there; nothing is made or mounted.
  public static func existing() -> BPFFolder? {
    guard let mount = try? Self.found(), let id = try? NetworkNamespaceID.own() else {
      return nil
    }
    let folder = BPFFolder(mount, id)
    return access(folder.path, F_OK) == 0 ? folder : nil
  }

  private init(_ mount: Mount, _ namespace: UInt64) {
    root = mount.root == Self.ownRoot ? mount.point : "\(mount.point)\(Self.ownRoot)"
    parent = "\(root)/\(Self.version)"
    path = "\(parent)/net-\(namespace)"
  }

  /// The path of a pin.
  public func pin(_ name: String) -> String { "\(path)/\(name)" }

  /// The names of what is pinned.
  public var names: [String] { Self.names(in: path) }

  /// The folders of other namespaces.
  public var others: [String] {
    Self.names(in: parent).map { "\(parent)/\($0)" }.filter { $0 != path }
  }

  public func remove(_ name: String) { unlink(pin(name)) }

  /// Removes a folder with all that is pinned in it.
  public static func remove(_ folder: String) {
    for name in names(in: folder) { unlink("\(folder)/\(name)") }
    rmdir(folder)
  }

  public static func names(in folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// What of the file system is marker's.
  private static let ownRoot = "/marker"

  /// A service that may not look into /sys/fs/bpf has its own part of it mounted elsewhere (BindPaths= of its unit).
  private static func found() throws(SystemError) -> Mount? {
    let mounts = try Mount.all(ofType: "bpf")
    return mounts.last { $0.root == ownRoot } ?? mounts.last
  }

  private static func mounted() throws(SystemError) -> Mount {
    if let mount = try found() { return mount }
    let point = BPFFileSystem.usualPoint
    // mount -t bpf bpf /sys/fs/bpf
    try system("mount -t bpf bpf", point) { mount("bpf", point, "bpf", 0, "mode=0700") }
    return Mount(root: "/", point: point, type: "bpf")
  }
}

/// What tells network namespaces apart.
public enum NetworkNamespaceID {
  /// SO_NETNS_COOKIE of asm-generic/socket.h: different for every namespace since the host's boot.
  private static let cookieOption: Int32 = 71

  /// The cookie of the calling thread's namespace; before Linux 5.14 its inode, which a later one may get again.
  public static func own() throws(SystemError) -> UInt64 {
    let probe = try Descriptor("socket", "AF_INET") {
      socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    var cookie: UInt64 = 0
    var size = socklen_t(MemoryLayout<UInt64>.size)
    if getsockopt(probe.raw, SOL_SOCKET, cookieOption, &cookie, &size) == 0 { return cookie }
    var status = stat()
    try system("stat", "/proc/thread-self/ns/net") { stat("/proc/thread-self/ns/net", &status) }
    return UInt64(status.st_ino)
  }
}
