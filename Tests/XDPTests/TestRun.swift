import CBPF
import Flow
import Linux

@testable import XDP

/// A loaded tc path whose program is run on packets of the test's (BPF_PROG_TEST_RUN).
struct TestRun {
  let path: TCPath

  init() throws { path = try TCPath(maxFlows: 1000) }

  init(path: TCPath) { self.path = path }

  /// With programs that insert headers. Test runs belong to the loopback, which has index 1 everywhere.
  init(mtu: UInt32) throws {
    path = try TCPath(maxFlows: 1000, insertsHeaders: true)
    // ARPHRD_LOOPBACK of <linux/if_arp.h>.
    try path.setMTU(of: Interface(index: 1, name: "lo", hardwareType: 772, mtu: mtu))
  }

  /// Marks flows with the label of a tag, or the mark given.
  func mark(_ keys: [FlowKey], _ mark: Mark) -> [PathFailure?] {
    var batch = ChangeBatch()
    for key in keys { batch.changes.append(ChangeBatch.Change(.mark, key, mark)) }
    path.apply(&batch)
    return batch.changes.map(\.failure)
  }

  struct Result: Equatable {
    /// TC_ACT_UNSPEC, which tcx reads as "next", is -1.
    let verdict: Int32
    let packet: [UInt8]
  }

  /// Runs the program for Ethernet once: a test run always has an Ethernet header.
  ///
  /// - Parameter gsoSize: what `__sk_buff.gso_size` says, of a kind of super-packet that no helper makes room in.
  func run(_ packet: [UInt8], gsoSize: UInt32 = 0) throws -> Result {
    let program = try path.program(for: .ethernet)
    var output = [UInt8](repeating: 0, count: packet.count + 256)
    var options = bpf_test_run_opts()
    options.sz = MemoryLayout<bpf_test_run_opts>.size
    // struct __sk_buff of <linux/bpf.h>, 192 bytes: gso_segs at 164, gso_size at 176.
    var context = [UInt32](repeating: 0, count: 192 / 4)
    context[164 / 4] = gsoSize == 0 ? 0 : 3
    context[176 / 4] = gsoSize
    options.ctx_size_in = UInt32(context.count * 4)
    let status = context.withUnsafeBytes { context in
      packet.withUnsafeBytes { input in
        output.withUnsafeMutableBytes { output in
          options.ctx_in = context.baseAddress
          options.data_in = input.baseAddress
          options.data_size_in = UInt32(input.count)
          options.data_out = output.baseAddress
          options.data_size_out = UInt32(output.count)
          options.repeat = 1
          return bpf_prog_test_run_opts(program, &options)
        }
      }
    }
    guard status == 0 else { throw SystemError("bpf_prog_test_run_opts", code: -status) }
    return Result(
      verdict: Int32(bitPattern: options.retval), packet: Array(output[..<Int(options.data_size_out)]))
  }
}
