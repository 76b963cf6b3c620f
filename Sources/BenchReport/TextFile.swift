import Glibc

/// A file of text, read and written whole.
struct TextFile {
  let path: String

  func read() throws(PageError) -> String {
    guard let file = fopen(path, "re") else { throw .unreadable(path, Self.reason) }
    defer { fclose(file) }
    var text: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = fread(&part, 1, part.count, file)
      if count == 0 { break }
      text += part[..<count]
    }
    guard ferror(file) == 0 else { throw .unreadable(path, Self.reason) }
    return String(decoding: text, as: UTF8.self)
  }

  /// The file has the old text or the new one, whatever happens meanwhile.
  func write(_ text: String) throws(PageError) {
    let new = "\(path).new"
    guard let file = fopen(new, "we") else { throw .unwritable(path, Self.reason) }
    let bytes = Array(text.utf8)
    let written = fwrite(bytes, 1, bytes.count, file)
    // Closing writes what is left.
    guard fclose(file) == 0, written == bytes.count, rename(new, path) == 0 else {
      let reason = Self.reason
      unlink(new)
      throw .unwritable(path, reason)
    }
  }

  /// Makes the folders on the way to it.
  func makeFolders() throws(PageError) {
    for (index, character) in path.enumerated() where character == "/" && index > 0 {
      let folder = String(path.prefix(index))
      guard mkdir(folder, 0o755) == 0 || errno == EEXIST else { throw .unwritable(path, Self.reason) }
    }
  }

  private static var reason: String { String(cString: strerror(errno)) }
}
