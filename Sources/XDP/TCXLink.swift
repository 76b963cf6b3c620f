internal import CLinux
internal import Glibc
internal import Linux

/// A program at the head of one of an interface's tcx chains (kernel 6.6 and later). It leaves with the descriptor:
/// when this value goes, and when the process dies.
struct TCXLink: ~Copyable {
  private let descriptor: Descriptor

  /// The part of `union bpf_attr` that BPF_LINK_CREATE reads (<linux/bpf.h> of 6.6; Debian 12's has no tcx yet, and
  /// its libbpf no way to ask for a place in the chain).
  private struct LinkCreate {
    var program: UInt32
    var interface: UInt32
    var attachType: UInt32
    var flags: UInt32
    var relative: UInt32 = 0
    var padding: UInt32 = 0
    var expectedRevision: UInt64 = 0
  }
  private static let linkCreate: Int32 = 28  // BPF_LINK_CREATE
  private static let tcxIngress: UInt32 = 46  // BPF_TCX_INGRESS
  private static let tcxEgress: UInt32 = 47  // BPF_TCX_EGRESS
  private static let before: UInt32 = 1 << 3  // BPF_F_BEFORE; with nothing to be before: the head

  /// - Throws: EINVAL where the kernel has no tcx.
  init(program: Int32, interface: Interface, _ direction: TCDirection = .egress) throws(SystemError) {
    var attributes = LinkCreate(
      program: UInt32(program), interface: interface.index,
      attachType: direction == .ingress ? Self.tcxIngress : Self.tcxEgress, flags: Self.before)
    descriptor = try Descriptor("attach to tcx \(direction.rawValue) of", interface.name) {
      clinux_bpf(Self.linkCreate, &attributes, UInt32(MemoryLayout<LinkCreate>.size))
    }
  }
}
