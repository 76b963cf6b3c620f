internal import CLinux
internal import Glibc

/// The sockets that processes of certain names have, found by looking through /proc (proc(5)). Only processes whose name
/// is wanted are looked into.
public struct ProcessSockets: Sendable {
  private var names: [UInt32: Set<String>] = [:]

  public init() {}

  /// As it is now. What cannot be looked at, because it has ended or may not be seen, has no sockets.
  ///
  /// - Parameter wanted: names as the kernel has them, 15 bytes at the most.
  public init(of wanted: Set<String>) {
    forEachEntry(of: "/proc") { process, _ in
      guard process.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return }
      guard let name = try? contents(ofSmallFile: "/proc/\(process)/comm") else { return }
      let trimmed = name.hasSuffix("\n") ? String(name.dropLast()) : name
      guard wanted.contains(trimmed) else { return }
      forEachEntry(of: "/proc/\(process)/fd") { descriptor, _ in
        guard let inode = Self.socket(at: "/proc/\(process)/fd/\(descriptor)") else { return }
        names[inode, default: []].insert(trimmed)
      }
    }
  }

  /// Whether processes of other users can be looked into: that takes CAP_SYS_PTRACE, and a /proc that shows them.
  /// Process 1 is root's, and always there.
  public static var seesOthers: Bool {
    guard let listing = opendir("/proc/1/fd") else { return false }
    closedir(listing)
    return true
  }

  /// The numbers of this process's own sockets.
  public static func own() -> Set<UInt32> {
    var inodes: Set<UInt32> = []
    forEachEntry(of: "/proc/self/fd") { descriptor, _ in
      if let inode = socket(at: "/proc/self/fd/\(descriptor)") { inodes.insert(inode) }
    }
    return inodes
  }

  /// The wanted names that a socket's processes have.
  ///
  /// - Parameter inode: as `SocketDescription` has it.
  public subscript(inode: UInt32) -> Set<String> { names[inode] ?? [] }

  /// The number in "socket:[12345]".
  private static func socket(at path: String) -> UInt32? {
    var buffer = [CChar](repeating: 0, count: 64)
    let count = readlink(path, &buffer, buffer.count)
    guard count > 0 else { return nil }
    let text = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard text.hasPrefix("socket:["), text.hasSuffix("]") else { return nil }
    return UInt32(text.dropFirst(8).dropLast())
  }
}
