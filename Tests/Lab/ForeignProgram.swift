import CBPF
import CLinux
import Glibc
public import Linux

/// Somebody else's tc program, loaded from a few instructions, with a count of its runs.
public final class ForeignProgram: Sendable {
  private let descriptor: Descriptor
  private let statistics: Descriptor

  /// What it does before it returns.
  public enum Deed: Sendable {
    case nothing
    /// Pushes a VLAN tag into the skb's metadata; one that is there already moves into the packet.
    case pushVLAN(protocol: UInt16, tag: UInt16)
  }

  /// - Parameter verdict: -1 is "next", 0 is "ok", which ends the chain.
  public init(_ deed: Deed = .nothing, verdict: Int32 = -1) throws(SystemError) {
    var program: [bpf_insn] = []
    /// eBPF's `dst = value` (BPF_ALU64 | BPF_MOV | BPF_K).
    func move(_ register: UInt8, _ value: Int32) { program.append(instruction(0xb7, register, value)) }
    if case .pushVLAN(let etherType, let tag) = deed {
      move(2, Int32(etherType.bigEndian))
      move(3, Int32(tag))
      program.append(instruction(0x85, 0, 18))  // call BPF_FUNC_skb_vlan_push
    }
    move(0, verdict)
    program.append(instruction(0x95, 0, 0))  // exit
    descriptor = try Descriptor("bpf_prog_load") {
      program.withUnsafeBufferPointer {
        bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "GPL", $0.baseAddress, $0.count, nil)
      }
    }
    statistics = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
  }

  /// One at TCP's events, which says "go on" and does nothing.
  public init(atEvents: Void) throws(SystemError) {
    let program = [instruction(0xb7, 0, 1), instruction(0x95, 0, 0)]
    descriptor = try Descriptor("bpf_prog_load") {
      program.withUnsafeBufferPointer {
        bpf_prog_load(BPF_PROG_TYPE_SOCK_OPS, "foreign", "GPL", $0.baseAddress, $0.count, nil)
      }
    }
    statistics = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
  }

  /// One at XDP, which passes every packet.
  public init(atXDP: Void) throws(SystemError) {
    let program = [instruction(0xb7, 0, 2), instruction(0x95, 0, 0)]  // XDP_PASS
    descriptor = try Descriptor("bpf_prog_load") {
      program.withUnsafeBufferPointer {
        bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign", "GPL", $0.baseAddress, $0.count, nil)
      }
    }
    statistics = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
  }

  /// Attaches to an interface's generic XDP hook; it leaves with the descriptor.
  public func attachXDP(_ interface: String, in namespace: NetworkNamespace) throws(SystemError) -> Descriptor
  {
    try namespace.run { () throws(SystemError) -> Descriptor in
      // program, interface, BPF_XDP, XDP_FLAGS_SKB_MODE.
      var attributes: [UInt32] = [UInt32(descriptor.raw), if_nametoindex(interface), 37, 1 << 1]
      return try Descriptor("bpf_link_create", interface) {
        clinux_bpf(28, &attributes, UInt32(attributes.count * 4))
      }
    }
  }

  /// Attaches to TCP's events of a control group, behind those that are there; it leaves with the descriptor.
  public func attach(toGroup folder: String) throws(SystemError) -> Descriptor {
    let group = try Descriptor("open", folder) { open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    return try Descriptor("bpf_link_create", folder) {
      bpf_link_create(descriptor.raw, group.raw, BPF_CGROUP_SOCK_OPS, nil)
    }
  }

  public var runs: UInt64 {
    get throws(SystemError) {
      var info = bpf_prog_info()
      var size = UInt32(MemoryLayout<bpf_prog_info>.size)
      try system("bpf_obj_get_info_by_fd") { bpf_obj_get_info_by_fd(descriptor.raw, &info, &size) }
      return info.run_cnt
    }
  }

  /// Attaches to tcx egress, in front of all others; it leaves with the descriptor.
  public func attachTCX(_ interface: String, in namespace: NetworkNamespace) throws(SystemError) -> Descriptor
  {
    try namespace.run { () throws(SystemError) -> Descriptor in
      // program, interface, BPF_TCX_EGRESS, BPF_F_BEFORE; then relative and revision, all 0.
      var attributes: [UInt32] = [UInt32(descriptor.raw), if_nametoindex(interface), 47, 1 << 3, 0, 0, 0, 0]
      return try Descriptor("bpf_link_create", interface) {
        clinux_bpf(28, &attributes, UInt32(attributes.count * 4))
      }
    }
  }

  /// Attaches to clsact egress; the qdisc is made where it is missing.
  public func attachClsact(_ interface: String, priority: UInt32, in namespace: NetworkNamespace)
    throws(SystemError)
  {
    try namespace.run { () throws(SystemError) in
      var hook = bpf_tc_hook()
      hook.sz = 20  // without its padding
      hook.ifindex = Int32(if_nametoindex(interface))
      hook.attach_point = BPF_TC_EGRESS
      _ = bpf_tc_hook_create(&hook)
      var options = bpf_tc_opts()
      options.sz = 28  // without its padding
      options.prog_fd = descriptor.raw
      options.priority = priority
      options.handle = 1
      try system("bpf_tc_attach", interface) { bpf_tc_attach(&hook, &options) }
    }
  }
}

private func instruction(_ code: UInt8, _ register: UInt8, _ value: Int32) -> bpf_insn {
  var instruction = bpf_insn()
  instruction.code = code
  instruction.dst_reg = register
  instruction.imm = value
  return instruction
}
