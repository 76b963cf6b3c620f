internal import CLinux
internal import Glibc

/// The capabilities(7) that marking is about. The raw value is the kernel's number of it.
public enum Capability: UInt8, Sendable, CaseIterable {
  case netAdmin = 12
  case netRaw = 13
  case sysAdmin = 21
  case perfmon = 38
  case bpf = 39

  public var name: String {
    switch self {
    case .netAdmin: "CAP_NET_ADMIN"
    case .netRaw: "CAP_NET_RAW"
    case .sysAdmin: "CAP_SYS_ADMIN"
    case .perfmon: "CAP_PERFMON"
    case .bpf: "CAP_BPF"
    }
  }

  /// What it is for.
  public var use: String {
    switch self {
    case .netAdmin: "attaching programs, nftables"
    case .netRaw: "packet sockets"
    case .sysAdmin: "private namespaces to try things in; nothing while marking"
    case .perfmon: "finding the sockets of connections that are there already"
    case .bpf: "loading programs; before 5.8 CAP_SYS_ADMIN instead"
    }
  }

  /// Those in effect for the calling thread.
  public static func effective() throws(SystemError) -> Set<Capability> {
    var bits: UInt64 = 0
    try system("capget") { clinux_capabilities(&bits) }
    return Set(allCases.filter { bits >> UInt64($0.rawValue) & 1 == 1 })
  }

  /// Whether each is in effect.
  public static func attempts() -> [Attempt] {
    do throws(SystemError) {
      let effective = try effective()
      return allCases.map { capability in
        if effective.contains(capability) { return Attempt(capability.name, .yes(capability.use)) }
        return Attempt(
          capability.name,
          .no(
            "not in effect; for \(capability.use)", needs: capability == .perfmon ? "" : capability.name))
      }
    } catch {
      return [Attempt("capabilities", .untried("\(error)"))]
    }
  }
}
