internal import CBPF
internal import CLinux
internal import CTable
internal import Glibc
public import Linux

/// What the kernel lets this process do with BPF, each found out by doing it. All that is made goes with its
/// descriptor, so nothing stays, however the process ends.
public enum BPFProbe {
  /// - Parameter maxFlows: how many flows the table is tried for.
  public static func attempts(maxFlows: Int) -> [Attempt] {
    LibbpfLog.install()
    let call = Attempt("bpf(2)", self.call())
    // In this order: the limit is lifted for all that follows, as it is in the daemon.
    let counted = Attempt("BPF memory apart from locked memory", isNotCounted(call.finding))
    let head = [call, counted, LockedMemory.attempt()]
    guard call.finding.isYes else {
      return head + all(maxFlows).map { Attempt($0.what, .untried("there is no bpf(2)")) }
    }
    return head + all(maxFlows).map { Attempt($0.what, $0.finding()) }
  }

  private typealias Item = (what: String, finding: @Sendable () -> Finding)

  private static func all(_ maxFlows: Int) -> [Item] {
    let programs: [Item] = [
      ("program for tc (sched_cls)", { load(BPF_PROG_TYPE_SCHED_CLS) }),
      ("program for TCP's events (sock_ops)", { load(BPF_PROG_TYPE_SOCK_OPS) }),
      ("program for XDP", { load(BPF_PROG_TYPE_XDP) }),
    ]
    let table: Item = ("table of \(maxFlows) flows", { MapProbe.table(maxFlows) })
    return programs + MapProbe.all + [table]
  }

  /// Makes the simplest map there is.
  private static func call() -> Finding {
    do throws(SystemError) {
      _ = try smallestMap()
      return .yes
    } catch {
      var nothing: UInt64 = 0
      // No kernel will have so many commands.
      let unknown = clinux_bpf(0x7fff_fffe, &nothing, 8)
      let unknownCode = unknown < 0 ? errno : 0
      let capabilities = (try? Capability.effective()) ?? []
      let setting = try? contents(ofSmallFile: "/proc/sys/kernel/unprivileged_bpf_disabled")
      let refusal = BPFRefusal(
        code: error.code, unknownCommand: unknownCode,
        hasCapability: !capabilities.isDisjoint(with: [.bpf, .sysAdmin]), confinement: .current(),
        unprivilegedDisabled: setting?.filter { !$0.isWhitespace })
      return .no("\(error)", needs: refusal.need)
    }
  }

  /// By the bare system call: libbpf lifts the memory limit before its first map, and this is used to find out about
  /// it.
  private static func smallestMap() throws(SystemError) -> Descriptor {
    // The type, the sizes of key and value in bytes, the entries: the head of union bpf_attr for BPF_MAP_CREATE, 0.
    var attributes: [UInt32] = [BPF_MAP_TYPE_ARRAY.rawValue, 4, 4, 1]
    return try Descriptor("BPF_MAP_CREATE") {
      clinux_bpf(0, &attributes, UInt32(attributes.count * MemoryLayout<UInt32>.size))
    }
  }

  /// Linux before 5.11 counts maps and programs as locked memory, and answers EPERM above the limit. So one is made
  /// with nothing allowed.
  private static func isNotCounted(_ call: Finding) -> Finding {
    guard call.isYes else { return .untried("there is no bpf(2)") }
    do throws(SystemError) {
      return try LockedMemory.limited(to: 0) { () throws(SystemError) in
        do throws(SystemError) {
          _ = try smallestMap()
          return .yes("the control group's memory limit counts instead")
        } catch {
          return .no("\(error) with a limit of 0", needs: "locked memory without limit, the next row")
        }
      }
    } catch {
      return .untried("\(error)")
    }
  }

  private static func load(_ type: bpf_prog_type) -> Finding {
    .attempt(need: need) { () throws(SystemError) in
      // What does nothing where it is attached: "next" at tc, "no answer" for sock_ops. It is not attached here.
      _ = try TinyProgram(type, returning: type == BPF_PROG_TYPE_SCHED_CLS ? -1 : 1)
      return ""
    }
  }

  /// What would help against the refusal of a program or map, where the call itself works.
  static func need(_ code: Int32) -> String {
    switch code {
    case EPERM, EACCES: "CAP_NET_ADMIN beside CAP_BPF"
    case ENOMEM: "memory: the control group's limit, or ulimit -l on Linux before 5.11"
    case EINVAL, EOPNOTSUPP: "a later kernel, or one that is configured with it"
    default: ""
    }
  }
}
