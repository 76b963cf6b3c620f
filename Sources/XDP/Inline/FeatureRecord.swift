internal import Glibc
public import Linux

/// A file with the offloads that were on before marker turned them off, a line each: which end, and the feature.
public struct FeatureRecord: Sendable {
  enum End: String, CaseIterable { case inside, peer }

  private static let folder = "/run/marker"
  private let path: String

  /// - Parameter inside: of the calling thread's namespace, of which the file's name tells the inode.
  public init(for inside: Interface) throws(SystemError) {
    var status = stat()
    try system("stat", "/proc/thread-self/ns/net") { stat("/proc/thread-self/ns/net", &status) }
    path = "\(Self.folder)/inline-\(status.st_ino)-\(inside.index)"
  }

  /// What is turned off, for people: the end and the feature.
  public var lines: [String] {
    guard let file = fopen(path, "re") else { return [] }
    defer { fclose(file) }
    var lines: [String] = []
    var buffer = [CChar](repeating: 0, count: 256)
    while fgets(&buffer, Int32(buffer.count), file) != nil {
      let bytes = buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
      lines.append(String(decoding: bytes, as: UTF8.self))
    }
    return lines
  }

  func add(_ features: [String], of end: End) throws(SystemError) {
    if mkdir(Self.folder, 0o755) != 0, errno != EEXIST { throw SystemError("mkdir", Self.folder) }
    let file = try Descriptor("open", path) { open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644) }
    let text = Array(features.map { "\(end.rawValue) \($0)\n" }.joined().utf8)
    let written = try system("write", path) { write(file.raw, text, text.count) }
    guard written == text.count else { throw SystemError("write", path, code: ENOSPC) }
  }

  /// Turns on again what is in the file, which is gone then.
  ///
  /// - Returns: what does the same by hand.
  @discardableResult
  public func restore(_ inside: Interface) -> [String] {
    var commands: [String] = []
    let lines = lines
    for end in End.allCases {
      let features = lines.filter { $0.hasPrefix("\(end.rawValue) ") }.map {
        String($0.dropFirst(end.rawValue.count + 1))
      }
      guard !features.isEmpty else { continue }
      let wanted = Dictionary(features.map { ($0, true) }) { first, _ in first }
      func turnOn(_ name: String) throws(SystemError) {
        try DeviceFeatures(of: name).set(wanted)
        commands.append("ethtool -K \(name) \(features.map { "\($0) on" }.joined(separator: " "))")
      }
      // A device that went has no offloads to put back.
      switch end {
      case .inside: try? turnOn(inside.name)
      case .peer: try? VethPeer.of(inside) { name throws(SystemError) in try turnOn(name) }
      }
    }
    if !lines.isEmpty { unlink(path) }
    return commands
  }
}
