public import Flow
internal import Glibc

/// The rewriter with flows and frames of the caller's, for measuring it alone.
public struct RewriterTrial: ~Copyable {
  private var rewriter: Rewriter
  private let memory: UnsafeMutableRawPointer
  private let frames: UnsafeMutablePointer<PacketFrame>
  /// How many frames a run rewrites.
  public let count: Int
  /// Bytes from one frame to the next, as in AF_XDP's memory.
  private static let stride = 2048

  /// - Parameters:
  ///   - flows: with marks that are written over what a packet has; others are passed over.
  ///   - packets: from the Ethernet header on, at most 2048 bytes each.
  public init(flows: [(FlowKey, Mark)], packets: [[UInt8]]) {
    rewriter = Rewriter(seed: 0x9e37_79b9)
    for (key, mark) in flows {
      if let stamp = StampWord(mark) { _ = rewriter.set(FlowWords(key), stamp, counted: Usage()) }
    }
    count = packets.count
    memory = .allocate(byteCount: max(1, count) * Self.stride, alignment: 4096)
    frames = .allocate(capacity: max(1, count))
    for (place, packet) in packets.enumerated() {
      let start = memory + place * Self.stride
      start.copyMemory(from: packet, byteCount: min(packet.count, Self.stride))
      (frames + place).initialize(
        to: PacketFrame(start: start, length: min(packet.count, Self.stride), segmentSize: 0))
    }
  }

  deinit {
    frames.deallocate()
    memory.deallocate()
  }

  /// Rewrites all frames, in bursts.
  public mutating func run() {
    var place = 0
    while place < count {
      rewriter.rewrite(frames + place, min(Rewriter.burst, count - place))
      place += Rewriter.burst
    }
  }

  /// A frame as it is now.
  public func packet(_ place: Int) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: frames[place].start, count: frames[place].length))
  }
}
