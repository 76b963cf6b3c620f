internal import CBPF
internal import Glibc
public import Linux

/// Programs at TCP's events, attached to a control group (sock_ops).
///
/// The attempt attaches to the group that this process is in, by a link. A group of its own would be a folder that
/// stays behind where the process is killed; a link goes with the process. For the millisecond that it is there, a
/// program runs at the TCP events of that group's processes that does nothing and returns "go on", so that those of
/// others have their say. Should a program be there that tolerates no other, the answer is EPERM, which is what
/// marking would hear.
public enum SockOpsProbe {
  public static func attempt() -> Attempt { Attempt("sock_ops attached to a control group", finding()) }

  private static func finding() -> Finding {
    let folder: String
    do throws(SystemError) {
      guard let own = try ControlGroup.own() else {
        return .no("this process's group is in no cgroup2 that is mounted", needs: "cgroup2, mounted")
      }
      folder = own
    } catch {
      return .untried("\(error)")
    }
    return .attempt(need: need) { () throws(SystemError) in
      let group = try Descriptor("open", folder) { open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
      let program = try TinyProgram(BPF_PROG_TYPE_SOCK_OPS, returning: 1)
      let result = bpf_link_create(program.descriptor.raw, group.raw, BPF_CGROUP_SOCK_OPS, nil)
      guard result >= 0 else { throw SystemError("BPF_LINK_CREATE", folder, code: -result) }
      close(result)
      return folder
    }
  }

  private static func need(_ code: Int32) -> String {
    switch code {
    case EPERM, EACCES:
      "CAP_BPF and CAP_NET_ADMIN, and no other's program there that tolerates none beside it"
    case EINVAL: "Linux 5.7 with CONFIG_CGROUP_BPF"
    default: ""
    }
  }
}
