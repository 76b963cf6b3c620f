internal import Glibc

/// The users of this host (passwd(5)).
public enum UserAccount {
  /// The number of a user; nil where there is none of the name.
  public static func number(of name: String) -> UInt32? { numbers(of: name)?.user }

  /// The numbers of a user and of its own group; nil where there is none of the name.
  public static func numbers(of name: String) -> (user: UInt32, group: UInt32)? {
    var entry = passwd()
    var result: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 1 << 14)
    guard getpwnam_r(name, &entry, &buffer, buffer.count, &result) == 0, result != nil else { return nil }
    return (entry.pw_uid, entry.pw_gid)
  }
}
