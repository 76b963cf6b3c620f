internal import Glibc

/// A mounted file system, as /proc/self/mountinfo has it (proc(5)).
public struct Mount: Hashable, Sendable {
  /// What of the file system is seen at the mount point: "/" for all of it.
  public let root: String
  public let point: String
  public let type: String

  /// Those of one type, in the order in which they were mounted.
  public static func all(ofType type: String) throws(SystemError) -> [Mount] {
    try contents(ofSmallFile: "/proc/self/mountinfo").split(separator: "\n").compactMap { Mount(line: $0) }
      .filter { $0.type == type }
  }

  init(root: String, point: String, type: String) {
    self.root = root
    self.point = point
    self.type = type
  }

  /// "36 35 98:0 /root /point rw,noatime shared:1 - type source options": the fields before " - " vary in number.
  init?(line: Substring) {
    let fields = line.split(separator: " ")
    guard fields.count > 4, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { return nil }
    root = Self.unescape(fields[3])
    point = Self.unescape(fields[4])
    type = String(fields[dash + 1])
  }

  /// White space and backslashes stand as three octal digits.
  private static func unescape(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(value)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// The BPF file system, where programs and maps can be kept beyond the process's end.
public enum BPFFileSystem {
  /// Where it is mounted by custom.
  public static let usualPoint = "/sys/fs/bpf"

  /// Whether it is mounted, and pins could be made there. Pins nothing: a pin would stay if the process were killed.
  public static func finding() -> Finding {
    do throws(SystemError) {
      guard let point = BPFFolder.usual(among: try Mount.all(ofType: "bpf"))?.point else {
        let isKnown = try contents(ofSmallFile: "/proc/filesystems").split(separator: "\n").contains {
          $0.hasSuffix("\tbpf")
        }
        return .no(
          "not mounted",
          needs: isKnown ? "mount -t bpf bpf \(usualPoint)" : "a kernel with BPF (CONFIG_BPF_SYSCALL)")
      }
      return .attempt(need: need) { () throws(SystemError) in
        // Looks at the mount's and the folder's permissions alike.
        try system("access for writing", point) { access(point, W_OK | X_OK) }
        return point
      }
    } catch {
      return .untried("\(error)")
    }
  }
  private static func need(_ code: Int32) -> String {
    "a bpf file system that is mounted read-write and owned by this user"
  }
}
