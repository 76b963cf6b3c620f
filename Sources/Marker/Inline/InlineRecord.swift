import Glibc
import Linux

/// What `marker inline up` changed in this network namespace: a file with a line for each step that changes it back.
struct InlineRecord {
  let path: String

  init() throws(SystemError) {
    var status = stat()
    try system("stat", "/proc/self/ns/net") { stat("/proc/self/ns/net", &status) }
    path = "/run/marker/inline-setup-\(status.st_ino)"
  }

  /// In the order in which they were written.
  func lines() -> [String] {
    guard let file = fopen(path, "re") else { return [] }
    defer { fclose(file) }
    var lines: [String] = []
    var buffer = [CChar](repeating: 0, count: 256)
    while fgets(&buffer, Int32(buffer.count), file) != nil {
      lines.append(
        String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
    return lines
  }

  func add(_ line: String) throws(SystemError) {
    if mkdir("/run/marker", 0o755) != 0, errno != EEXIST { throw SystemError("mkdir", "/run/marker") }
    let file = try Descriptor("open", path) { open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644) }
    let text = Array("\(line)\n".utf8)
    try system("write", path) { write(file.raw, text, text.count) }
  }

  func remove() { unlink(path) }
}
