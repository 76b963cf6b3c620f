internal import CBPF
internal import Linux

/// A BPF program of a few instructions, written by hand: for trying what the kernel allows, without verifying the real
/// one. Nothing runs it until it is attached, and it goes with its descriptor.
struct TinyProgram: ~Copyable {
  let descriptor: Descriptor

  /// One that only returns a value.
  init(_ type: bpf_prog_type, returning value: Int32) throws(SystemError) {
    try self.init(type, [.set(0, value), .exit])
  }

  /// One at XDP that hands packets to the sockets in an XSKMAP, by their queue; those of a queue without a socket
  /// pass.
  init(redirectingTo map: Int32) throws(SystemError) {
    let pass: Int32 = 2  // XDP_PASS
    try self.init(
      BPF_PROG_TYPE_XDP,
      [
        // The queue's number, the last field of struct xdp_md that old kernels have, at 16.
        .loadWord(2, from: 1, at: 16), .map(1, map), .zero, .set(3, pass),
        .call(51),  // BPF_FUNC_redirect_map
        .exit,
      ])
  }

  private init(_ type: bpf_prog_type, _ instructions: [bpf_insn]) throws(SystemError) {
    LibbpfLog.install()
    let result = instructions.withUnsafeBufferPointer {
      bpf_prog_load(type, "marker_probe", "GPL", $0.baseAddress, $0.count, nil)
    }
    guard result >= 0 else { throw SystemError("BPF_PROG_LOAD", code: -result) }
    descriptor = Descriptor(owning: result)
  }
}

extension bpf_insn {
  private init(_ code: UInt8, _ target: UInt8, source: UInt8 = 0, offset: Int16 = 0, _ value: Int32 = 0) {
    self.init()
    self.code = code
    dst_reg = target
    src_reg = source
    off = offset
    imm = value
  }

  // The codes are those of Documentation/bpf/standardization/instruction-set.rst.
  /// target = value
  fileprivate static func set(_ target: UInt8, _ value: Int32) -> bpf_insn { bpf_insn(0xb7, target, value) }
  /// target = the 32 bits at source + offset
  fileprivate static func loadWord(_ target: UInt8, from source: UInt8, at offset: Int16) -> bpf_insn {
    bpf_insn(0x61, target, source: source, offset: offset)
  }
  /// The first half of target = map; `zero` is the second. The source 1 is BPF_PSEUDO_MAP_FD.
  fileprivate static func map(_ target: UInt8, _ descriptor: Int32) -> bpf_insn {
    bpf_insn(0x18, target, source: 1, descriptor)
  }
  fileprivate static var zero: bpf_insn { bpf_insn() }
  fileprivate static func call(_ helper: Int32) -> bpf_insn { bpf_insn(0x85, 0, helper) }
  fileprivate static var exit: bpf_insn { bpf_insn(0x95, 0) }
}
