internal import Glibc

/// Calls the body with the names in a folder and whether each is a folder itself; with none where it cannot be read.
func forEachEntry(of folder: String, _ body: (_ name: String, _ isFolder: Bool) -> Void) {
  guard let listing = opendir(folder) else { return }
  defer { closedir(listing) }
  while let entry = readdir(listing) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != ".", name != ".." { body(name, entry.pointee.d_type == UInt8(DT_DIR)) }
  }
}
