internal import CLinux
internal import Glibc

/// Finds the network namespace that the kernel names by a number only (RTM_GETNSID, ip-netns(8)).
public enum NamespaceSearch {
  /// The namespace that the calling thread's one knows by `id`: one with a name under /run/netns, or one that a process
  /// lives in.
  ///
  /// - Throws: ENOENT where it is neither, or not to be seen from here.
  public static func find(_ id: Int32) throws(SystemError) -> Descriptor {
    var seen: Set<UInt> = []
    let named = names(in: "/run/netns").map { "/run/netns/\($0)" }
    let inhabited = names(in: "/proc").filter { $0.allSatisfy(\.isNumber) }.map { "/proc/\($0)/ns/net" }
    for path in named + inhabited {
      var status = stat()
      guard stat(path, &status) == 0, seen.insert(UInt(status.st_ino)).inserted else { continue }
      let raw = open(path, O_RDONLY | O_CLOEXEC)
      guard raw >= 0 else { continue }
      let descriptor = Descriptor(owning: raw)
      // What is no namespace has no number.
      if (try? number(of: descriptor.raw)) == id { return descriptor }
    }
    throw SystemError("find the network namespace with the number", "\(id)", code: ENOENT)
  }

  /// The number that the calling thread's namespace has for the one with a name under /run/netns; nil where it has none,
  /// because no device of the two is joined.
  public static func id(ofNamed name: String) throws(SystemError) -> Int32? {
    let path = "/run/netns/\(name)"
    let descriptor = try Descriptor("open", path) { open(path, O_RDONLY | O_CLOEXEC) }
    guard let number = try number(of: descriptor.raw), number >= 0 else { return nil }
    return number
  }

  private static func number(of namespace: Int32) throws(SystemError) -> Int32? {
    let answer = try Rtnetlink.ask("ip netns list-id", RTM_GETNSID) { request in
      request.put(rtgenmsg(rtgen_family: UInt8(AF_UNSPEC)))
      withUnsafeBytes(of: namespace) { request.put(Int(NETNSA_FD), Array($0)) }
    }
    // Behind struct rtgenmsg, which is padded to four bytes.
    return answer.withUnsafeBytes { bytes in
      NetlinkAttributes(bytes, after: 4)[Int(NETNSA_NSID)].flatMap {
        $0.count == 4 ? $0.loadUnaligned(as: Int32.self) : nil
      }
    }
  }

  private static func names(in folder: String) -> [String] {
    guard let listing = opendir(folder) else { return [] }
    defer { closedir(listing) }
    var names: [String] = []
    while let entry = readdir(listing) {
      names.append(
        withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.filter { !$0.hasPrefix(".") }
  }
}
