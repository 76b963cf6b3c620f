import Flow
import Glibc
import Lab
import Testing

@testable import XDP

private typealias Build = PacketBuilder

private let tag = SciTag(packed: 206)  // cms/Analysis Input, label 0x30038
private let entropy: UInt32 = 0x4_0102
private let tcp = FlowKey(
  local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094),
  remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 40000), transport: .tcp)
private let udp = FlowKey(local: tcp.local, remote: tcp.remote, transport: .udp)
private let sctp = FlowKey(local: tcp.local, remote: tcp.remote, transport: .sctp)

private func labelMark(_ source: LabelEntropy = .kernel) throws -> Mark {
  Mark(label: LabelStamp(try #require(FlowLabel(tag, entropy: entropy)), source))
}

/// The packet with another flow label at the IPv6 header that starts at `offset`.
private func relabelled(_ packet: [UInt8], at offset: Int, _ label: UInt32) -> [UInt8] {
  var packet = packet
  packet[offset + 1] = packet[offset + 1] & 0xf0 | UInt8(label >> 16)
  packet[offset + 2] = UInt8(label >> 8 & 0xff)
  packet[offset + 3] = UInt8(label & 0xff)
  return packet
}

private struct Shape: Sendable, CustomTestStringConvertible {
  let name: String
  let packet: [UInt8]
  /// Where the IP header starts.
  let network: Int
  var testDescription: String { name }

  init(_ name: String, tags: [(UInt16, UInt16)] = [], next: UInt8, _ payload: [UInt8]) {
    self.name = name
    // Traffic class 0xbb is DSCP 46 with ECN 3: not one bit of it may change.
    packet =
      Build.ethernet(0x86dd, tags: tags) + Build.ipv6(trafficClass: 0xbb, label: 0x95a5a, next: next, payload)
    network = 14 + tags.count * 4
  }
}

private let segment = Build.tcp(1094, 40000)

private let marked: [Shape] = [
  Shape("TCP", next: 6, segment),
  Shape("UDP", next: 17, Build.udp(1094, 40000)),
  Shape("SCTP", next: 132, Build.udp(1094, 40000)),
  Shape("802.1Q", tags: [(0x8100, 0x0123)], next: 6, segment),
  Shape("802.1ad", tags: [(0x88a8, 0x0123)], next: 6, segment),
  Shape("QinQ", tags: [(0x88a8, 0x0123), (0x8100, 0xe456)], next: 6, segment),
  Shape("hop-by-hop", next: 0, Build.options(next: 6) + segment),
  Shape("hop-by-hop of 64 bytes", next: 0, Build.options(next: 6, length: 64) + segment),
  Shape("destination options", next: 60, Build.options(next: 6) + segment),
  Shape("routing header", next: 43, [6, 2, 4, 0, 0, 0, 0, 0] + Build.address(9) + segment),
  Shape("authentication header", next: 51, [6, 4, 0, 0] + [UInt8](repeating: 7, count: 20) + segment),
  Shape(
    "all that RFC 8200 orders", tags: [(0x88a8, 5), (0x8100, 6)], next: 0,
    Build.options(next: 60) + Build.options(next: 43) + [44, 0, 4, 0, 0, 0, 0, 0]
      + Build.fragment(next: 60, offset: 0, more: true, identification: 77) + Build.options(next: 17)
      + Build.udp(1094, 40000)),
  Shape(
    "first fragment", next: 44, Build.fragment(next: 6, offset: 0, more: true, identification: 78) + segment),
  Shape(
    "atomic fragment", next: 44, Build.fragment(next: 6, offset: 0, more: false, identification: 79) + segment
  ),
]

private let untouched: [Shape] = [
  Shape("other source port", next: 6, Build.tcp(1095, 40000)),
  Shape("other destination port", next: 6, Build.tcp(1094, 40001)),
  Shape("ports swapped", next: 6, Build.tcp(40000, 1094)),
  Shape("ICMPv6", next: 58, [128, 0, 0, 0, 0x04, 0x46, 0x9c, 0x40]),
  Shape("ESP", next: 50, segment),
  Shape("no next header", next: 59, segment),
  Shape("unknown protocol", next: 253, segment),
  Shape(
    "later fragment whose first was not seen", next: 44,
    Build.fragment(next: 6, offset: 100, more: false, identification: 1) + segment),
  Shape("three VLAN tags", tags: [(0x88a8, 1), (0x8100, 2), (0x8100, 3)], next: 6, segment),
  Shape(
    "eight extension headers", next: 60,
    [UInt8](repeating: 60, count: 7).flatMap { Build.options(next: $0) } + Build.options(next: 6) + segment),
  Shape("extension header that points behind the end", next: 0, [6, 255, 1, 4, 0, 0, 0, 0] + segment),
]

@Suite(.enabled(if: geteuid() == 0, "BPF needs root")) struct GoldenPacketTests {
  private func ready(_ mark: Mark) throws -> TestRun {
    let run = try TestRun()
    #expect(run.mark([tcp, udp, sctp], mark) == [nil, nil, nil])
    return run
  }

  /// The tag's bits and the packet's own five.
  private let kept: UInt32 = 0x30038 | 0x95a5a & 0xc0103

  @Test(arguments: marked) private func labelOnly(shape: Shape) throws {
    let result = try ready(labelMark()).run(shape.packet)
    #expect(result == TestRun.Result(verdict: -1, packet: relabelled(shape.packet, at: shape.network, kept)))
  }

  @Test(arguments: untouched) private func nothing(shape: Shape) throws {
    #expect(try ready(labelMark()).run(shape.packet) == TestRun.Result(verdict: -1, packet: shape.packet))
  }

  @Test(arguments: [0, 0x95a5a, 0xfffff, 0x30038, 1] as [UInt32]) func entropyOfTheKernel(old: UInt32) throws
  {
    let packet = Build.ethernet(0x86dd) + Build.ipv6(label: old, next: 6, segment)
    let want = old == 0 ? 0x30038 | entropy : 0x30038 | old & 0xc0103
    #expect(try ready(labelMark()).run(packet).packet == relabelled(packet, at: 14, want))
  }

  @Test(arguments: [0, 0x95a5a, 0xfffff] as [UInt32]) func entropyOfTheFlow(old: UInt32) throws {
    let packet = Build.ethernet(0x86dd) + Build.ipv6(label: old, next: 6, segment)
    #expect(try ready(labelMark(.flow)).run(packet).packet == relabelled(packet, at: 14, 0x30038 | entropy))
  }

  /// Marked as soon as the ports are there, else as it came. A test run takes no IPv6 packet that ends within its
  /// header, unless VLAN tags stand before it.
  @Test(arguments: marked) private func truncated(shape: Shape) throws {
    let run = try ready(labelMark())
    // Behind the ports of the innermost header.
    let payload = shape.name == "UDP" || shape.name == "SCTP" || shape.name.hasPrefix("all") ? 11 : 23
    let needed = shape.packet.count - payload + 4
    for length in (shape.network == 14 ? 54 : 14)..<shape.packet.count {
      let packet = Array(shape.packet[..<length])
      let want = length < needed ? packet : relabelled(packet, at: shape.network, kept)
      #expect(try run.run(packet) == TestRun.Result(verdict: -1, packet: want), "\(length) bytes")
    }
  }

  @Test func laterFragmentsFollowTheirFirst() throws {
    let run = try ready(labelMark())
    func piece(_ offset: UInt16, _ identification: UInt32, port: UInt16 = 1094) -> [UInt8] {
      Build.ethernet(0x86dd)
        + Build.ipv6(
          next: 44,
          Build.fragment(next: 17, offset: offset, more: offset == 0, identification: identification)
            + Build.udp(port, 40000))
    }
    #expect(try run.run(piece(10, 5)).packet == piece(10, 5), "its first has not passed")
    #expect(try run.run(piece(0, 5)).packet != piece(0, 5))
    #expect(try run.run(piece(10, 5)).packet == relabelled(piece(10, 5), at: 14, 0x30038 | entropy))
    #expect(try run.run(piece(10, 6)).packet == piece(10, 6), "another packet's")
    // The same identification, used again by a flow that is not ours.
    #expect(try run.run(piece(0, 5, port: 9)).packet == piece(0, 5, port: 9))
    #expect(try run.run(piece(10, 5)).packet == piece(10, 5))
  }

  @Test func ipv4AndOthersPass() throws {
    let run = try ready(labelMark())
    for packet in [
      Build.ethernet(0x0800) + Build.ipv4(protocol: 6, segment),
      Build.ethernet(0x0806) + [UInt8](repeating: 1, count: 28),
      Build.ethernet(0x86dd) + [0x45] + Build.ipv6(next: 6, segment).dropFirst(),
      Build.ethernet(0x8100) + [0, 1, 0x08, 0x06] + [UInt8](repeating: 1, count: 28),
    ] {
      #expect(try run.run(packet) == TestRun.Result(verdict: -1, packet: packet))
    }
  }

  @Test func withoutFlowsNothingIsTouched() throws {
    let run = try TestRun()
    for shape in marked { #expect(try run.run(shape.packet).packet == shape.packet) }
  }

  @Test func anotherHostsFlowWithTheSamePorts() throws {
    let run = try ready(labelMark())
    for (source, destination) in [(3, 2), (1, 3)] as [(UInt8, UInt8)] {
      let packet =
        Build.ethernet(0x86dd)
        + Build.ipv6(next: 6, source: Build.address(source), destination: Build.address(destination), segment)
      #expect(try run.run(packet).packet == packet)
    }
  }

  @Test func markAllTakesWhatNoFlowMatches() throws {
    let run = try ready(labelMark())
    let all = Mark(label: LabelStamp(try #require(FlowLabel(SciTag(packed: 130))), .kernel))
    try run.path.markAll(ScopeMarks(ipv6: all, ipv4: nil))
    for shape in untouched
    where !shape.name.contains("three VLAN") && !shape.name.contains("eight")
      && !shape.name.contains("behind the end")
    {
      let result = try run.run(shape.packet)
      #expect(result.packet == relabelled(shape.packet, at: 14, 0x10008 | 0x95a5a & 0xc0103), "\(shape.name)")
    }
    // Without a label of its own a packet takes its flow's hash, and the tag's bits are right all the same.
    let bare = Build.ethernet(0x86dd) + Build.ipv6(next: 58, [128, 0, 0, 0, 0, 1, 0, 1])
    let frame = try #require(Frame(run.run(bare).packet))
    #expect(frame.flowLabel & ~FlowLabel.entropyMask == 0x10008)
    // A flow keeps its own tag.
    #expect(try run.run(marked[0].packet).packet == relabelled(marked[0].packet, at: 14, kept))
    try run.path.markAll(nil)
    #expect(try run.run(bare).packet == bare)
  }

  @Test func exclusionsAreForMarkAllOnly() throws {
    let run = try ready(labelMark())
    let label = try #require(FlowLabel(SciTag(packed: 130)))
    let all = Mark(label: LabelStamp(label, .kernel))
    let dscp = Mark(codePoint: CodePointStamp(try #require(CodePoint(11)), onlyIfUnset: false))
    func exclude(_ networks: [String], _ ports: [String] = []) throws {
      try run.path.markAll(
        ScopeMarks(
          ipv6: all, ipv4: dscp,
          except: Exclusions(
            networks: networks.map { try Network(text: $0) }, ports: ports.map { try #require(PortRange($0)) }
          )))
    }
    /// Whether a packet from port 1 to `destination` is left as it is.
    func leaves(_ destination: UInt8, _ payload: [UInt8] = Build.tcp(1, 9), next: UInt8 = 6) throws -> Bool {
      let packet =
        Build.ethernet(0x86dd)
        + Build.ipv6(label: 5, next: next, destination: Build.address(destination), payload)
      return try run.run(packet).packet == packet
    }
    func leavesIPv4(_ payload: [UInt8] = Build.tcp(1, 9)) throws -> Bool {
      let packet = Build.ethernet(0x0800) + Build.ipv4(protocol: 6, payload)
      return try run.run(packet).packet == packet
    }
    let flow = marked[0].packet

    try exclude([])
    #expect(try !leaves(9) && !leavesIPv4())
    try exclude(["2001:db8::8/125"])
    #expect(try leaves(8) && leaves(15) && !leaves(7) && !leaves(16) && !leavesIPv4())
    #expect(try leaves(9, [128, 0, 0, 0, 0, 1, 0, 1], next: 58), "in every protocol")
    // The flow's own network.
    try exclude(["2001:db8::/64", "0.0.0.0/0"])
    #expect(try leaves(9) && leavesIPv4())
    #expect(
      try run.run(flow).packet == relabelled(flow, at: 14, kept), "a tagged flow is marked all the same")
    // All of IPv6 is not IPv4, in a trie of mapped addresses either.
    try exclude(["::/0"])
    #expect(try leaves(9) && !leavesIPv4())
    try exclude(["::/0", "0.0.0.0/0"])
    #expect(try leaves(9) && leavesIPv4())

    try exclude([], ["9", "100-200", "65535"])
    for (source, destination, isLeft) in [
      (1, 9, true), (9, 1, true), (1, 8, false), (1, 10, false), (100, 1, true), (1, 200, true),
      (99, 201, false),
      (65535, 1, true), (1, 65534, false),
    ] as [(UInt16, UInt16, Bool)] {
      #expect(try leaves(9, Build.tcp(source, destination)) == isLeft, "\(source) \(destination)")
      #expect(try leavesIPv4(Build.tcp(source, destination)) == isLeft)
      #expect(try leaves(9, Build.udp(source, destination), next: 17) == isLeft)
    }
    // Without ports a protocol's first bytes are none.
    #expect(try !leaves(9, [0, 9, 0, 9, 0, 1, 0, 1], next: 58))
    // Later fragments go by their first.
    func piece(_ offset: UInt16, _ port: UInt16, _ identification: UInt32) throws -> Bool {
      try leaves(
        9,
        Build.fragment(next: 17, offset: offset, more: offset == 0, identification: identification)
          + Build.udp(port, 1), next: 44)
    }
    #expect(try piece(0, 9, 1) && piece(10, 7, 1) && !piece(10, 7, 2) && !piece(0, 7, 1) && !piece(10, 7, 1))
    try exclude([])
    #expect(try !leaves(9) && !leavesIPv4())
    try run.path.markAll(nil)
    #expect(try leaves(9) && leavesIPv4())
  }

  @Test func asManyExclusionsAsThereMayBe() throws {
    let run = try TestRun()
    let all = Mark(label: LabelStamp(try #require(FlowLabel(SciTag(packed: 130))), .kernel))
    let networks = try (0..<Exclusions.networkLimit).map {
      try Network(Address(high: 0x2001_0db8_0000_0000 + UInt64($0) << 16, low: 0), length: 48)
    }
    try run.path.markAll(ScopeMarks(ipv6: all, ipv4: nil, except: Exclusions(networks: networks)))
    let packet = Build.ethernet(0x86dd) + Build.ipv6(label: 5, next: 6, segment)
    #expect(try run.run(packet).packet == packet)
    try run.path.markAll(
      ScopeMarks(ipv6: all, ipv4: nil, except: Exclusions(networks: Array(networks.dropFirst()))))
    #expect(try run.run(packet).packet != packet)
  }

  @Test func unmarkingStopsMarking() throws {
    let run = try ready(labelMark())
    _ = try run.run(marked[0].packet)
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.unmark, tcp, try labelMark()))
    run.path.apply(&batch)
    #expect(batch.changes[0].failure == nil)
    // From the IP header on: 40 + 20 + 3 bytes.
    #expect(batch.changes[0].usage == Usage(packets: 1, bytes: 63))
    #expect(try run.run(marked[0].packet).packet == marked[0].packet)
    #expect(try run.run(marked[1].packet).packet != marked[1].packet, "its neighbour stays marked")
  }

  @Test func aMarkThatWasRefusedAndIsChangedLater() throws {
    let path = try TCPath(maxFlows: 1)
    func apply(_ action: ChangeBatch.Change.Action, _ key: FlowKey) throws -> Int32? {
      var batch = ChangeBatch()
      batch.changes.append(ChangeBatch.Change(action, key, try labelMark()))
      path.apply(&batch)
      return batch.changes[0].failure?.code
    }
    let run = TestRun(path: path)
    #expect(try apply(.mark, udp) == nil)
    #expect(try apply(.mark, tcp) == E2BIG)
    #expect(try apply(.unmark, udp) == nil)
    #expect(try apply(.remark, tcp) == nil)
    #expect(try run.run(marked[0].packet).packet != marked[0].packet, "there is room now")
    #expect(try apply(.unmark, tcp) == nil)
    #expect(try apply(.mark, udp) == nil)
    #expect(try run.run(marked[1].packet).packet != marked[1].packet, "the books are right")
  }

  @Test func remarkingKeepsTheCount() throws {
    let run = try ready(labelMark())
    _ = try run.run(marked[0].packet)
    var batch = ChangeBatch()
    let other = Mark(label: LabelStamp(try #require(FlowLabel(SciTag(packed: 129))), .kernel))
    batch.changes.append(ChangeBatch.Change(.remark, tcp, other))
    run.path.apply(&batch)
    #expect(
      try run.run(marked[0].packet).packet
        == relabelled(marked[0].packet, at: 14, 0x10004 | 0x95a5a & 0xc0103))
    var counts: [FlowKey: Usage] = [:]
    try run.path.readUsage { counts[$0] = $1 }
    #expect(counts == [tcp: Usage(packets: 2, bytes: 126), udp: Usage(), sctp: Usage()])
  }
}
