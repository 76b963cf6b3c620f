public import Linux

/// Why something about BPF did not work: what was tried, on what, and what would help.
public enum BPFError: Error, Sendable {
  /// The kernel did not take a program or map. The log is what libbpf and the verifier said, many lines at times.
  case load(SystemError, log: String)
  /// An object lacks a part that this program was built with: the build is broken.
  case missing(String)
  case map(SystemError)
  case attach(SystemError)
  case linkLayer(Interface)
}

extension BPFError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .load(let error, _):
      let help: String
      switch error.code {
      case 1, 13:  // EPERM, EACCES
        help = "; loading BPF needs root, or CAP_BPF with CAP_NET_ADMIN, and a kernel that is not locked down"
      case 12: help = "; the memory limit is too low (ulimit -l) or memory is short"  // ENOMEM
      case 38: help = "; this kernel is built without BPF"  // ENOSYS
      default: help = ""
      }
      return "\(error)\(help)"
    case .missing(let part): return "the embedded BPF object has no \(part)"
    case .map(let error): return "\(error)"
    case .attach(let error):
      let help = error.code == 1 ? "; attaching needs root or CAP_NET_ADMIN" : ""
      return "\(error)\(help)"
    case .linkLayer(let interface):
      return
        "interface \(interface.name) has link type \(interface.hardwareType), whose header is not known; "
        + "Ethernet, loopback, tun, PPP, SIT and IP-in-IP tunnels are"
    }
  }
}
