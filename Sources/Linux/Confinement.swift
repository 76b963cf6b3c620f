internal import Glibc

/// What takes rights away from this process without showing in its capabilities.
public struct Confinement: Hashable, Sendable {
  /// Whether system calls pass a filter (seccomp(2)); nil where that cannot be known.
  public let hasFilter: Bool?
  /// Whether capabilities hold for the whole host (user_namespaces(7)); nil where that cannot be known.
  public let isInInitialUserNamespace: Bool?

  public init(hasFilter: Bool?, isInInitialUserNamespace: Bool?) {
    self.hasFilter = hasFilter
    self.isInInitialUserNamespace = isInInitialUserNamespace
  }

  /// That of the calling process.
  public static func current() -> Confinement {
    Confinement(
      hasFilter: (try? contents(ofSmallFile: "/proc/self/status")).flatMap(filter(status:)),
      isInInitialUserNamespace: (try? contents(ofSmallFile: "/proc/self/uid_map")).map(isWhole(uidMap:)))
  }

  /// proc(5): the field Seccomp is 0 without, 1 in strict and 2 in filter mode.
  static func filter(status: String) -> Bool? {
    let field = status.split(separator: "\n").first { $0.hasPrefix("Seccomp:") }
    return field?.split(whereSeparator: \.isWhitespace).last.map { $0 != "0" }
  }

  /// user_namespaces(7): only the initial namespace maps every user to itself.
  static func isWhole(uidMap: String) -> Bool {
    uidMap.split(whereSeparator: \.isWhitespace) == ["0", "0", "4294967295"]
  }

  /// Whether either stands in the way of marking.
  public var attempts: [Attempt] {
    let filter: Finding =
      switch hasFilter {
      case false: .yes
      case true:
        .untried("there is one; a call that it refuses looks like a missing right")
      case nil: .untried("/proc is not mounted")
      }
    let user: Finding =
      switch isInInitialUserNamespace {
      case true: .yes
      case false:
        .no(
          "this user namespace is not the host's; capabilities hold within it only",
          needs: "for eBPF, a process outside of it; nft works inside")
      case nil: .untried("/proc is not mounted")
      }
    return [Attempt("no system call filter", filter), Attempt("the host's user namespace", user)]
  }
}
