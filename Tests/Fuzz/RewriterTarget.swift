import CBPF
import Flow
import Glibc
import Linux

@testable import XDP

extension FuzzTarget {
  /// Frames: the packet thread's rewriter beside the tc program, with the same flows. Needs root.
  static var rewriter: FuzzTarget {
    FuzzTarget(name: "rewriter") { frame in
      // BPF_PROG_TEST_RUN takes frames from the Ethernet header on, up to a page.
      guard frame.count > 14, frame.count <= 2048, let program = RewriterTwins.shared.program(frame) else {
        return
      }
      let rewriter = RewriterTwins.shared.rewriter(frame)
      require(program == rewriter, "program \(program)\nrewriter \(rewriter)")
    }
  }
}

/// Both, with the same flows.
private final class RewriterTwins {
  nonisolated(unsafe) static let shared = make()

  private let path: TCPath
  private var rewriter: Rewriter
  private let loaded: Int32

  private static func make() -> RewriterTwins {
    do { return try RewriterTwins() } catch { fatalError("the tc program does not load: \(error)") }
  }

  private init() throws {
    path = try TCPath(maxFlows: 1000)
    loaded = try path.program(for: .ethernet)
    var rewriter = Rewriter(seed: 7)
    var batch = ChangeBatch()
    for (key, mark) in Self.flows {
      batch.changes.append(ChangeBatch.Change(.mark, key, mark))
      guard let word = StampWord(mark), rewriter.set(FlowWords(key), word, counted: Usage()) else {
        fatalError("the rewriter refuses \(key)")
      }
    }
    path.apply(&batch)
    require(batch.changes.allSatisfy { $0.failure == nil }, "the tc program takes all flows")
    self.rewriter = rewriter
  }

  /// The ends of the packets in the corpus, for all transports.
  private static var flows: [(FlowKey, Mark)] {
    guard let label = FlowLabel(SciTag(packed: 206), entropy: 0x4_0102), let codePoint = CodePoint(11) else {
      fatalError("no marks")
    }
    let marks = (
      Mark(label: LabelStamp(label, .kernel)), Mark(codePoint: CodePointStamp(codePoint, onlyIfUnset: true))
    )
    return TransportProtocol.allCases.flatMap { transport in
      [
        (
          FlowKey(
            local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094),
            remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 40000), transport: transport), marks.0
        ),
        (
          FlowKey(
            local: Endpoint(Address(ipv4: 0xc000_0201), 1094),
            remote: Endpoint(Address(ipv4: 0xc000_0202), 40000), transport: transport), marks.1
        ),
      ]
    }
  }

  /// What the program makes of a frame; nil where a test run takes no such frame.
  func program(_ frame: UnsafeRawBufferPointer) -> [UInt8]? {
    var output = [UInt8](repeating: 0, count: frame.count + 256)
    var options = bpf_test_run_opts()
    options.sz = MemoryLayout<bpf_test_run_opts>.size
    let status = output.withUnsafeMutableBytes { output in
      options.data_in = frame.baseAddress
      options.data_size_in = UInt32(frame.count)
      options.data_out = output.baseAddress
      options.data_size_out = UInt32(output.count)
      options.repeat = 1
      return bpf_prog_test_run_opts(loaded, &options)
    }
    guard status == 0 else { return nil }
    // TC_ACT_UNSPEC
    require(Int32(bitPattern: options.retval) == -1, "packets always go on")
    return Array(output[..<Int(options.data_size_out)])
  }

  /// What the rewriter makes of it, in memory of its own that ends where the frame ends.
  func rewriter(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { memory.deallocate() }
    memory.copyMemory(from: bytes)
    guard let start = memory.baseAddress else { return [] }
    var frame = PacketFrame(start: start, length: bytes.count, segmentSize: 0)
    rewriter.rewrite(&frame, 1)
    return Array(memory)
  }
}
