import CBPF
import Glibc
import Lab
import Linux

/// A loaded program, found or made, with its run-time statistics.
final class Program: Sendable {
  let descriptor: Descriptor
  /// What it jumps through: the kernel empties an array of programs that no process holds.
  private let jumps: Descriptor?

  init(owning descriptor: consuming Descriptor, jumps: consuming Descriptor? = nil) {
    self.descriptor = descriptor
    self.jumps = jumps
  }

  /// This process's newest program of a name (the kernel keeps 15 characters).
  init(named name: String) throws(SystemError) {
    var found: Descriptor?
    for id in try held(.program, by: getpid()) {
      let fd = bpf_prog_get_fd_by_id(id)
      guard fd >= 0 else { continue }
      let program = Descriptor(owning: fd)
      var info = bpf_prog_info()
      var size = UInt32(MemoryLayout<bpf_prog_info>.size)
      guard bpf_obj_get_info_by_fd(program.raw, &info, &size) == 0 else { continue }
      let text = withUnsafeBytes(of: info.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if text == name { found = consume program }
    }
    guard let found else { throw SystemError("no BPF program is called", name, code: ENOENT) }
    descriptor = found
    jumps = nil
  }

  /// `return TC_ACT_UNSPEC`, the least that a program can do.
  static func noop() throws(SystemError) -> Program {
    Program(owning: try load([instruction(0xb7, 0, immediate: -1), instruction(0x95, 0)]))
  }

  /// Writes the first four bytes of a packet's IP header anew and jumps to another program: so that each run of a
  /// repeated test has something to stamp.
  ///
  /// - Parameter offset: where the IP header begins.
  static func resetting(
    _ packet: [UInt8], at offset: Int = 14, then next: Program
  ) throws(SystemError) -> Program {
    let array = try Descriptor("bpf_map_create") {
      bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "next", 4, 4, 1, nil)
    }
    var slot: UInt32 = 0
    var target = next.descriptor.raw
    try system("bpf_map_update_elem") { bpf_map_update_elem(array.raw, &slot, &target, 0) }
    let word = packet[offset..<offset + 4].reversed().reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
    let start = Int16(offset)
    let program = try load([
      instruction(0xbf, 6, source: 1),  // r6 = ctx
      instruction(0x61, 2, source: 1, offset: 76),  // r2 = data
      instruction(0x61, 3, source: 1, offset: 80),  // r3 = data_end
      instruction(0xbf, 4, source: 2),
      instruction(0x07, 4, immediate: Int32(start) + 4),
      instruction(0x2d, 4, source: 3, offset: 6),  // if r4 > r3 goto out
      instruction(0x62, 2, offset: start, immediate: Int32(bitPattern: word)),
      instruction(0xbf, 1, source: 6),
      instruction(0x18, 2, source: 1, immediate: array.raw), instruction(0, 0),  // r2 = map, two slots
      instruction(0xb7, 3, immediate: 0),
      instruction(0x85, 0, immediate: 12),  // tail call
      instruction(0xb7, 0, immediate: -1),  // out:
      instruction(0x95, 0),
    ])
    return Program(owning: program, jumps: array)
  }

  private static func load(_ instructions: [bpf_insn]) throws(SystemError) -> Descriptor {
    try Descriptor("bpf_prog_load") {
      instructions.withUnsafeBufferPointer {
        bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bench", "GPL", $0.baseAddress, $0.count, nil)
      }
    }
  }

  private static func instruction(
    _ code: UInt8, _ destination: UInt8, source: UInt8 = 0, offset: Int16 = 0, immediate: Int32 = 0
  ) -> bpf_insn {
    var instruction = bpf_insn()
    instruction.code = code
    instruction.dst_reg = destination
    instruction.src_reg = source
    instruction.off = offset
    instruction.imm = immediate
    return instruction
  }

  /// Nanoseconds a run, over a million runs on one packet (BPF_PROG_TEST_RUN).
  func time(_ packet: [UInt8]) throws(SystemError) -> Double {
    var options = bpf_test_run_opts()
    options.sz = 80  // without padding, up to `batch_size`
    options.repeat = 1_000_000
    try system("bpf_prog_test_run_opts") {
      packet.withUnsafeBytes { bytes in
        options.data_in = bytes.baseAddress
        options.data_size_in = UInt32(bytes.count)
        return bpf_prog_test_run_opts(descriptor.raw, &options)
      }
    }
    return Double(options.duration)
  }

  /// What one run makes of a packet (BPF_PROG_TEST_RUN).
  func output(of packet: [UInt8]) throws(SystemError) -> [UInt8] {
    var options = bpf_test_run_opts()
    options.sz = 80  // without padding, up to `batch_size`
    options.repeat = 1
    var output = [UInt8](repeating: 0, count: packet.count + 64)
    try system("bpf_prog_test_run_opts") {
      packet.withUnsafeBytes { bytes in
        output.withUnsafeMutableBytes { room in
          options.data_in = bytes.baseAddress
          options.data_size_in = UInt32(bytes.count)
          options.data_out = room.baseAddress
          options.data_size_out = UInt32(room.count)
          return bpf_prog_test_run_opts(descriptor.raw, &options)
        }
      }
    }
    return Array(output.prefix(Int(options.data_size_out)))
  }

  /// Runs and nanoseconds since it was loaded, while somebody holds `bpf_enable_stats`.
  func statistics() throws(SystemError) -> (runs: UInt64, nanoseconds: UInt64) {
    var info = bpf_prog_info()
    var size = UInt32(MemoryLayout<bpf_prog_info>.size)
    try system("bpf_obj_get_info_by_fd") { bpf_obj_get_info_by_fd(descriptor.raw, &info, &size) }
    return (info.run_cnt, info.run_time_ns)
  }
}
