import Flow
import Glibc
import Lab
import Testing

@testable import XDP

private typealias Build = PacketBuilder

/// The packet thread's marking beside the tc program's: same input, same output, same counts.
@Suite(.enabled(if: geteuid() == 0, "BPF needs root")) struct RewriterTests {
  private static let six = FlowKey(
    local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094),
    remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 40000), transport: .tcp)
  private static let four = FlowKey(
    local: Endpoint(Address(ipv4: 0xc000_0201), 1094), remote: Endpoint(Address(ipv4: 0xc000_0202), 40000),
    transport: .tcp)

  private static func keys() -> [FlowKey] {
    [six, four].flatMap { key in
      TransportProtocol.allCases.map { FlowKey(local: key.local, remote: key.remote, transport: $0) }
    }
  }

  /// Marks of every kind.
  private static func marks() throws -> [(ipv6: Mark, ipv4: Mark)] {
    func label(_ source: LabelEntropy) throws -> Mark {
      Mark(label: LabelStamp(try #require(FlowLabel(SciTag(packed: 206), entropy: 0x4_0102)), source))
    }
    func codePoint(_ number: Int, _ onlyIfUnset: Bool) throws -> Mark {
      Mark(codePoint: CodePointStamp(try #require(CodePoint(number)), onlyIfUnset: onlyIfUnset))
    }
    var both = try label(.kernel)
    both.codePoint = try codePoint(11, false).codePoint
    return [
      (try label(.kernel), try codePoint(11, true)), (try label(.flow), try codePoint(63, false)),
      (both, try codePoint(0, false)), (try codePoint(46, true), try codePoint(1, true)),
    ]
  }

  /// Both, with the same flows.
  private final class Twins {
    let run: TestRun
    var rewriter: Rewriter

    init(_ ipv6: Mark, _ ipv4: Mark, scope: ScopeMarks? = nil) throws {
      let run = try TestRun()
      var rewriter = Rewriter(seed: 7)
      for key in RewriterTests.keys() {
        let mark = key.isIPv4 ? ipv4 : ipv6
        #expect(run.mark([key], mark) == [nil])
        let isSet = rewriter.set(FlowWords(key), try #require(StampWord(mark)), counted: Usage())
        #expect(isSet)
      }
      if let scope {
        try run.path.markAll(scope)
        rewriter.setScope(
          ipv6: scope.ipv6.flatMap { StampWord($0) }, ipv4: scope.ipv4.flatMap { StampWord($0) },
          except: ScopeExclusions(scope.exclusions))
      }
      self.run = run
      self.rewriter = rewriter
    }

    /// What became of a packet by each; nil where a test run takes no such packet.
    func pass(_ packet: [UInt8]) -> (program: [UInt8], rewriter: [UInt8])? {
      guard let result = try? run.run(packet) else { return nil }
      return (result.packet, rewriter.pass(packet))
    }

    func usage() throws -> (program: [FlowKey: Usage], rewriter: [FlowKey: Usage]) {
      var (program, ours): ([FlowKey: Usage], [FlowKey: Usage]) = ([:], [:])
      try run.path.readUsage { program[$0] = $1 }
      RewriterTable.forEach(rewriter.table.slots, capacity: rewriter.table.capacity) { words, usage in
        if let key = words.flowKey { ours[key] = usage }
      }
      return (program, ours)
    }
  }

  /// Packets of all shapes: of the flows and of others, IPv4 and IPv6.
  private static func shapes() -> [[UInt8]] {
    let fragment = Build.fragment(next: 17, offset: 0, more: true, identification: 9)
    let later = Build.fragment(next: 17, offset: 3, more: false, identification: 9)
    var packets: [[UInt8]] = []
    for (local, remote) in [(1094, 40000), (1094, 40001), (40000, 1094)] as [(UInt16, UInt16)] {
      let (tcp, udp) = (Build.tcp(local, remote), Build.udp(local, remote))
      let payloads: [(UInt8, [UInt8])] = [
        (6, tcp), (17, udp), (132, udp), (58, [128, 0, 0, 0, 4, 0x46, 0x9c, 0x40]), (50, tcp), (253, tcp),
        (0, Build.options(next: 6) + tcp), (60, Build.options(next: 17, length: 64) + udp),
        (43, [6, 2, 4, 0, 0, 0, 0, 0] + Build.address(9) + tcp),
        (51, [6, 4, 0, 0] + [UInt8](repeating: 7, count: 20) + tcp), (44, fragment + udp), (44, later + udp),
        (0, Build.options(next: 44) + fragment + udp),
        (
          60,
          [UInt8](repeating: 60, count: 7).flatMap { Build.options(next: $0) } + Build.options(next: 6) + tcp
        ),
      ]
      for tags in [
        [], [(0x8100, 0x123)], [(0x88a8, 5), (0x8100, 6)], [(0x88a8, 5), (0x8100, 6), (0x8100, 7)],
      ]
        as [[(UInt16, UInt16)]]
      {
        for (next, payload) in payloads {
          for (trafficClass, label) in [(0, 0), (0xbb, 0x95a5a), (1, 0xfffff)] as [(UInt8, UInt32)] {
            packets.append(
              Build.ethernet(0x86dd, tags: tags)
                + Build.ipv6(trafficClass: trafficClass, label: label, next: next, payload))
          }
        }
        for (next, payload) in [(6, tcp), (17, udp), (132, udp), (1, udp)] as [(UInt8, [UInt8])] {
          for tos in [0, 2, 0xb9] as [UInt8] {
            for options in [[], [0x94, 4, 0, 0]] as [[UInt8]] {
              for position in [0, 0x4000, 0x2000, 3] as [UInt16] {
                packets.append(
                  Build.ethernet(0x0800, tags: tags)
                    + Build.ipv4(
                      tos: tos, protocol: next, fragment: position, identification: 8, options: options,
                      payload))
              }
            }
          }
        }
      }
    }
    packets.append(Build.ethernet(0x0806) + [UInt8](repeating: 1, count: 28))
    packets.append(Build.ethernet(0x8100) + [0, 1, 0x08, 0x06] + [UInt8](repeating: 1, count: 28))
    return packets
  }

  @Test(arguments: 0..<4) func everyShape(of mark: Int) throws {
    let marks = try Self.marks()[mark]
    let twins = try Twins(marks.ipv6, marks.ipv4)
    var changed = 0
    for packet in Self.shapes() {
      guard let pass = twins.pass(packet) else {
        Issue.record("a test run takes no such packet: \(packet)")
        continue
      }
      #expect(pass.program == pass.rewriter)
      if pass.program != packet { changed += 1 }
    }
    #expect(changed > 100)
    let usage = try twins.usage()
    #expect(usage.program == usage.rewriter && usage.program.count == 6)
  }

  /// Cut at every length.
  @Test func truncated() throws {
    let marks = try Self.marks()[2]
    let twins = try Twins(marks.ipv6, marks.ipv4)
    var seen = 0
    for packet in Self.shapes() {
      for length in 0..<packet.count {
        guard let pass = twins.pass(Array(packet[..<length])) else {
          // What a test run takes not, is not for a thread to stumble over.
          let count = twins.rewriter.pass(Array(packet[..<length])).count
          #expect(count == length)
          continue
        }
        seen += 1
        if pass.program != pass.rewriter {
          Issue.record("\(length) bytes of \(packet): \(pass.program), \(pass.rewriter)")
        }
      }
    }
    #expect(seen > 10_000)
  }

  /// Random bytes where headers are: lengths that lie, chains without end.
  @Test(arguments: [1, 2, 3] as [UInt64]) func hostile(seed: UInt64) throws {
    let marks = try Self.marks()[0]
    let twins = try Twins(marks.ipv6, marks.ipv4)
    var random = SplitMix(seed)
    let shapes = Self.shapes()
    var seen = 0
    for _ in 0..<20_000 {
      var packet = shapes[random.next(below: shapes.count)]
      for _ in 0...random.next(below: 6) {
        // Behind the addresses of the link layer, mostly in the headers.
        packet[12 + random.next(below: packet.count - 12)] = UInt8(random.next(below: 256))
      }
      if random.next(below: 4) == 0 { packet = Array(packet[..<random.next(below: packet.count)]) }
      guard let pass = twins.pass(packet) else { continue }
      seen += 1
      if pass.program != pass.rewriter {
        Issue.record("seed \(seed): \(packet): \(pass.program), \(pass.rewriter)")
      }
    }
    #expect(seen > 10_000)
    let usage = try twins.usage()
    #expect(usage.program == usage.rewriter)
  }

  private static let exclusions: [(networks: [String], ports: [String])] = [
    ([], []), (["2001:db8::/126"], []), (["2001:db8::2"], ["40001"]), (["::/0"], []),
    (["0.0.0.0/0"], ["1094"]),
    (["192.0.2.0/24", "192.0.0.0/16", "10.0.0.0/8", "10.0.0.0/16"], ["1-1000", "40001-65535"]),
    (["2001:db8::/64", "2001:db8::/32", "fe80::/10", "192.0.2.2"], []), ([], ["40000-40001"]),
  ]

  /// What no flow matches and is not to be left alone. The free bits of a packet without a label come from a hash, which
  /// is another's in the kernel.
  @Test(arguments: 0..<8) func markAll(except number: Int) throws {
    let marks = try Self.marks()[0]
    let all = Mark(label: LabelStamp(try #require(FlowLabel(SciTag(packed: 130))), .kernel))
    let left = Self.exclusions[number]
    let scope = ScopeMarks(
      ipv6: all, ipv4: try Self.marks()[1].ipv4,
      except: Exclusions(
        networks: try left.networks.map { try Network(text: $0) },
        ports: try left.ports.map { try #require(PortRange($0)) }))
    let twins = try Twins(marks.ipv6, marks.ipv4, scope: scope)
    for packet in Self.shapes() {
      guard var pass = twins.pass(packet) else { continue }
      if let frame = Frame(packet), frame.isIPv6, frame.flowLabel == 0 {
        for place in 0..<3 {
          let mask = ~UInt8(truncatingIfNeeded: FlowLabel.entropyMask >> (16 - 8 * UInt32(place)))
          pass.program[frame.networkOffset + 1 + place] &= mask
          pass.rewriter[frame.networkOffset + 1 + place] &= mask
        }
      }
      #expect(pass.program == pass.rewriter)
    }
    let (ours, program) = (twins.rewriter.scopeUsage, twins.run.path.scopeUsage)
    #expect(ours == program && (number > 0 || ours.packets > 0))
  }

  /// Segments are counted as they leave, each with its headers.
  @Test func superPackets() throws {
    let marks = try Self.marks()[0]
    let twins = try Twins(marks.ipv6, marks.ipv4)
    let tcp = Build.tcp(1094, 40000, payload: [UInt8](repeating: 1, count: 3001))
    _ = twins.rewriter.pass(Build.ethernet(0x86dd) + Build.ipv6(next: 6, tcp), segmentSize: 1000)
    let usage = try twins.usage().rewriter[Self.six]
    #expect(usage == Usage(packets: 4, bytes: UInt64(3001 + 4 * 60)))
  }
}

extension Rewriter {
  /// One packet, in memory of its own that ends where it ends.
  mutating func pass(_ packet: [UInt8], segmentSize: Int = 0) -> [UInt8] {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(packet.count, 1), alignment: 1)
    defer { memory.deallocate() }
    memory.copyMemory(from: packet, byteCount: packet.count)
    var frame = PacketFrame(start: memory, length: packet.count, segmentSize: segmentSize)
    rewrite(&frame, 1)
    return Array(UnsafeRawBufferPointer(start: memory, count: packet.count))
  }
}

/// SplitMix64: the same numbers for the same seed.
struct SplitMix {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var bits = state
    bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
    return bits ^ bits >> 31
  }

  mutating func next(below limit: Int) -> Int { Int(next() % UInt64(limit)) }
}
