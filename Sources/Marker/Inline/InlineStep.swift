import Glibc
import Linux

/// One thing that `marker inline up` changes, and `down` changes back.
enum InlineStep: Equatable {
  case link(LinkChange)
  /// A file under /proc/sys, by its name with dots.
  case sysctl(device: String, value: String)

  /// What does the same by hand.
  var command: String {
    switch self {
    case .link(let change): change.command
    case .sysctl(let device, let value): "sysctl -w net.ipv6.conf.\(device).disable_ipv6=\(value)"
    }
  }

  func apply() throws(SystemError) {
    switch self {
    case .link(let change): try change.apply()
    case .sysctl(let device, let value):
      let path = Self.path(device)
      let file = try Descriptor("open", path) { open(path, O_WRONLY | O_CLOEXEC) }
      let text = Array(value.utf8)
      try system("write", path) { write(file.raw, text, text.count) }
    }
  }

  private static func path(_ device: String) -> String { "/proc/sys/net/ipv6/conf/\(device)/disable_ipv6" }

  /// Whether IPv6 is off on a device, as the kernel writes it; nil on a kernel without IPv6.
  static func ipv6IsOff(_ device: String) -> String? {
    let raw = open(path(device), O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else { return nil }
    let file = Descriptor(owning: raw)
    var text = [UInt8](repeating: 0, count: 16)
    let count = read(file.raw, &text, text.count)
    return count > 0 ? String(decoding: text[..<count].filter { $0 != 10 }, as: UTF8.self) : nil
  }

  /// As a line of the record.
  var line: String {
    switch self {
    case .link(.delete(let name)): "delete \(name)"
    case .link(.leave(let name)): "leave \(name)"
    case .link(.setDown(let name)): "down \(name)"
    case .link(let change): "# \(change.command)"
    case .sysctl(let device, let value): "ipv6 \(device) \(value)"
    }
  }

  /// Nil for a line that says nothing.
  init?(line: String) {
    let words = line.split(separator: " ").map(String.init)
    switch (words.first, words.count) {
    case ("delete", 2): self = .link(.delete(name: words[1]))
    case ("leave", 2): self = .link(.leave(name: words[1]))
    case ("down", 2): self = .link(.setDown(name: words[1]))
    case ("ipv6", 3): self = .sysctl(device: words[1], value: words[2])
    default: return nil
    }
  }

  init(_ change: LinkChange) { self = .link(change) }
}
