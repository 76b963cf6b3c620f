internal import CLinux
internal import Glibc

/// Where a daemon of this network namespace keeps what outlives it: a folder in the BPF file system.
///
/// Pins of several namespaces and of several versions of their layout lie side by side:
/// `/sys/fs/bpf/marker/v1/net-1`.
public struct BPFFolder: Sendable {
  /// The version of what is kept, in the names of folders.
  public static let currentVersion = testedVersion ?? 1

  /// Debug builds keep another version where the environment says so: tests of upgrades need daemons of two versions.
  private static var testedVersion: Int? {
    #if DEBUG
      getenv("MARKER_STATE_VERSION").flatMap { Int(String(cString: $0)) }
    #else
      nil
    #endif
  }

  public let path: String
  /// The version of what is kept in it.
  public let version: Int
  private let namespace: UInt64
  /// The versions that anybody has kept something of when this value was made.
  private let versions: [Int]
  /// The folder of all versions.
  private let root: String
  /// The folder of all namespaces of this version.
  private var parent: String { "\(root)/v\(version)" }

  /// Makes the folder, and mounts the file system where it is not mounted.
  ///
  /// - Parameter version: another one than the current is for tests.
  /// - Throws: where there is no BPF file system to be had, or it cannot be written to.
  public init(version: Int = currentVersion) throws(SystemError) {
    try self.init(Self.root(in: try Self.mounted()), try NetworkNamespaceID.own(), version)
    var attempts = 10
    while true {
      do throws(SystemError) {
        try make()
        break
      } catch {
        // Another namespace's daemon has just removed its folder, and with it those above.
        attempts -= 1
        guard error.code == ENOENT, attempts > 0 else { throw error }
      }
    }
  }

  private func make() throws(SystemError) {
    for folder in [root, parent, path] {
      // Nobody else has any business with what is in there.
      guard mkdir(folder, 0o700) != 0, errno != EEXIST else { continue }
      throw SystemError("mkdir", folder)
    }
  }

  /// The folder, where it or that of another version is there; nothing is made or mounted.
  ///
  /// - Parameter version: another one than the current is for tests.
  public static func existing(version: Int = currentVersion) throws(SystemError) -> BPFFolder? {
    guard let mount = usual(among: try Mount.all(ofType: "bpf")) else { return nil }
    let folder = try BPFFolder(root(in: mount), try NetworkNamespaceID.own(), version)
    return access(folder.path, F_OK) == 0 || !folder.otherVersions.isEmpty ? folder : nil
  }

  private init(_ root: String, _ namespace: UInt64, _ version: Int) throws(SystemError) {
    let versions = try Self.names(in: root).compactMap { $0.first == "v" ? Int($0.dropFirst()) : nil }
    self.init(root, namespace, version, among: versions.sorted())
  }

  private init(_ root: String, _ namespace: UInt64, _ version: Int, among versions: [Int]) {
    self.root = root
    self.namespace = namespace
    self.version = version
    self.versions = versions
    path = "\(root)/v\(version)/net-\(namespace)"
  }

  /// The same namespace's folders of older versions, oldest first.
  public var olderVersions: [BPFFolder] { otherVersions.filter { $0.version < version } }

  /// The same namespace's folders of other versions, oldest first.
  public var otherVersions: [BPFFolder] {
    versions.filter { $0 != version }.map { BPFFolder(root, namespace, $0, among: versions) }
      .filter { access($0.path, F_OK) == 0 }
  }

  /// Removes the folder with all that is pinned in it, and those above that hold nothing else.
  ///
  /// - Parameter isKept: pins that stay, and the folder with them.
  /// - Returns: false where something is in there that stays, or is no pin, so that the folder stays.
  /// - Throws: where what is in it cannot be told.
  @discardableResult
  public func removeAll(but isKept: (_ name: String) -> Bool = { _ in false }) throws(SystemError) -> Bool {
    for name in try names where !isKept(name) { remove(name) }
    let isGone = rmdir(path) == 0 || errno == ENOENT
    rmdir(parent)
    rmdir(root)
    return isGone
  }

  /// The path of a pin.
  public func pin(_ name: String) -> String { "\(path)/\(name)" }

  /// The names of what is pinned.
  public var names: [String] {
    get throws(SystemError) { try Self.names(in: path) }
  }

  /// Whether something is pinned by that name.
  public func has(_ name: String) -> Bool { access(pin(name), F_OK) == 0 }

  /// The folders of other namespaces.
  public var others: [String] {
    get throws(SystemError) { try Self.names(in: parent).map { "\(parent)/\($0)" }.filter { $0 != path } }
  }

  public func remove(_ name: String) { unlink(pin(name)) }

  /// Removes a folder with all that is pinned in it.
  ///
  /// - Returns: whether it is gone.
  @discardableResult
  public static func remove(_ folder: String) throws(SystemError) -> Bool {
    for name in try names(in: folder) { unlink("\(folder)/\(name)") }
    return rmdir(folder) == 0 || errno == ENOENT
  }

  /// The names of what is in a folder; none where there is no such folder.
  public static func names(in folder: String) throws(SystemError) -> [String] {
    guard let directory = opendir(folder) else {
      guard errno == ENOENT else { throw SystemError("opendir", folder) }
      return []
    }
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

  private static func root(in mount: Mount) -> String {
    mount.root == ownRoot ? mount.point : "\(mount.point)\(ownRoot)"
  }

  /// Which of several mounts. A service that may not look into /sys/fs/bpf has its own part of it mounted elsewhere
  /// (BindPaths= of its unit). Else the usual place, wherever else one was mounted since, so that the next daemon looks
  /// where this one did.
  static func usual(among mounts: [Mount]) -> Mount? {
    mounts.last { $0.root == ownRoot } ?? mounts.last { $0.point == BPFFileSystem.usualPoint } ?? mounts.first
  }

  private static func mounted() throws(SystemError) -> Mount {
    if let mount = usual(among: try Mount.all(ofType: "bpf")) { return mount }
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
