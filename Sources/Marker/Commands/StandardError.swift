import Glibc

/// Where a command says what is no part of its result.
enum StandardError {
  static func print(_ line: String) {
    // There is nowhere to tell that nobody can be told.
    _ = writeAll("\(line)\n", to: STDERR_FILENO)
  }
}

/// Where a command's result goes that is written bit by bit.
enum StandardOutput {
  /// - Returns: false where nobody reads any more.
  static func print(_ text: String) -> Bool { writeAll("\(text)\n", to: STDOUT_FILENO) }
}

private func writeAll(_ text: String, to descriptor: Int32) -> Bool {
  var rest = Array(text.utf8)[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    guard count > 0 || errno == EINTR else { return false }
    rest = rest.dropFirst(max(count, 0))
  }
  return true
}
