import CLinux
import Glibc
import Linux

/// Fetches a registry and puts it in the place of the old one, which stays where the new one is broken.
struct RegistryUpdate {
  /// Where scitags.org serves it.
  static let source = "https://api.scitags.org/registry"

  let path: String

  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// The bytes of a file or of what a URL leads to.
  static func fetch(_ source: String) throws -> [UInt8] {
    guard source.hasPrefix("https://") || source.hasPrefix("http://") else {
      guard !source.contains("://") else {
        throw Failure(
          description: "\(source): expected a file, or a URL that begins with https:// or http://")
      }
      return try contents(of: source, limit: RegistryFile.largest)
    }
    return try download(source)
  }

  /// By curl, which knows certificates and proxies; no HTTPS client is linked into marker.
  private static func download(_ url: String) throws -> [UInt8] {
    var ends: [Int32] = [-1, -1]
    try system("pipe") { clinux_pipe2(&ends, O_CLOEXEC) }
    let reading = OpenFile(owning: Descriptor(owning: ends[0]))
    var writing: Descriptor? = Descriptor(owning: ends[1])
    let arguments = [
      "curl", "--fail", "--silent", "--show-error", "--location", "--proto", "=https,http", "--proto-redir",
      url.hasPrefix("https") ? "=https" : "=https,http", "--max-time", "60", "--max-filesize",
      "\(RegistryFile.largest)", "--url", url,
    ]
    let child = try spawn(arguments, output: ends[1])
    writing = nil
    _ = consume writing
    let result = Result { () throws(SystemError) in try reading.contents(limit: RegistryFile.largest) }
    var status: Int32 = 0
    try system("waitpid", "curl") { waitpid(child, &status, 0) }
    let bytes = try result.get()
    guard status == 0 else {
      throw Failure(
        description: "\(url): curl could not fetch it"
          + (status & 0x7f == 0 ? " (its exit status is \(status >> 8))" : "")
          + "; what was there before stays")
    }
    return bytes
  }

  /// - Parameter output: becomes its standard output.
  private static func spawn(_ arguments: [String], output: Int32) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, "curl", &actions, nil, words, environ)
    guard code == 0 else {
      let url = arguments.last ?? ""
      throw Failure(
        description:
          "fetching a URL takes curl, which could not be started (\(String(cString: strerror(code)))): "
          + "install it, or fetch \(url) on another host and give the file: marker registry update FILE")
    }
    return child
  }

  /// Writes it beside the old one and renames: whoever reads sees the old or the new, each as a whole.
  func install(_ bytes: [UInt8]) throws(SystemError) {
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    if path == RegistryFile.defaultPath, mkdir(folder, 0o755) != 0, errno != EEXIST {
      throw SystemError("mkdir", folder)
    }
    let draft = "\(path).\(getpid()).new"
    do throws(SystemError) {
      let file = try Descriptor("open", draft) {
        open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
      }
      var done = 0
      while done < bytes.count {
        done += try system("write", draft) {
          bytes.withUnsafeBytes { write(file.raw, $0.baseAddress.map { $0 + done }, $0.count - done) }
        }
      }
      try system("fsync", draft) { fsync(file.raw) }
      try system("rename", path) { rename(draft, path) }
    } catch {
      unlink(draft)
      throw error
    }
    let holder = try Descriptor("open", folder) {
      open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }
    try system("fsync", folder) { fsync(holder.raw) }
  }
}
