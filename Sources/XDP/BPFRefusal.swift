internal import Glibc
internal import Linux

/// Why bpf(2) is refused: the errno alone does not tell, EPERM least of all.
struct BPFRefusal {
  /// errno of a call that makes the simplest map there is.
  var code: Int32
  /// errno of a call that no kernel knows, which is EINVAL where bpf(2) is reached at all.
  var unknownCommand: Int32
  /// CAP_BPF or CAP_SYS_ADMIN is in effect.
  var hasCapability: Bool
  var confinement: Confinement
  /// kernel.unprivileged_bpf_disabled; nil where the kernel has no such setting.
  var unprivilegedDisabled: String?

  /// What would have to be there.
  var need: String {
    switch code {
    case ENOSYS:
      return confinement.hasFilter == true
        ? "a system call filter that lets bpf(2) pass, or else a kernel with CONFIG_BPF_SYSCALL"
        : "a kernel with CONFIG_BPF_SYSCALL"
    case EPERM, EACCES:
      let filter =
        "a system call filter that lets bpf(2) pass (SystemCallFilter=bpf, a container's seccomp profile)"
      let setting = unprivilegedDisabled.map { "; kernel.unprivileged_bpf_disabled is \($0)" } ?? ""
      let capability = "CAP_BPF, before Linux 5.8 CAP_SYS_ADMIN\(setting)"
      if unknownCommand != EINVAL, confinement.hasFilter != false {
        return hasCapability ? filter : "\(filter), and \(capability)"
      }
      if !hasCapability { return capability }
      if confinement.isInInitialUserNamespace == false {
        return "a process in the host's user namespace: capabilities of others do not count for BPF"
      }
      return
        "a security module (SELinux, AppArmor) that allows bpf(2), or on Linux before 5.11 a higher ulimit -l"
    case ENOMEM: return "memory"
    default: return ""
    }
  }
}
