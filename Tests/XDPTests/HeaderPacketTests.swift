import Flow
import Glibc
import Lab
import Testing

@testable import XDP

private typealias Build = PacketBuilder

private let tcp = FlowKey(
  local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094),
  remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 40000), transport: .tcp)
private let udp = FlowKey(local: tcp.local, remote: tcp.remote, transport: .udp)
private let sctp = FlowKey(local: tcp.local, remote: tcp.remote, transport: .sctp)

/// 513/14, which fits no flow label.
private func mark(_ headers: ExtensionHeaders) throws -> Mark {
  let tag = try SciTag(experiment: 513, activity: 14)
  return Mark(headers: HeaderStamp(try #require(TagOption(tag)), headers))
}

private let tagOption: [UInt8] = [0x1e, 3, 2, 1, 14, 0]

/// The whole packet, written out anew.
private func packet(
  _ headers: ExtensionHeaders?, tags: [(UInt16, UInt16)] = [], transport: UInt8, _ payload: [UInt8]
) -> [UInt8] {
  var (first, chain) = (transport, [UInt8]())
  switch headers {
  case nil: break
  case .hopByHop: (first, chain) = (0, [transport, 0] + tagOption)
  case .destination: (first, chain) = (60, [transport, 0] + tagOption)
  case .hopByHopDestination: (first, chain) = (0, [60, 0] + tagOption + [transport, 0] + tagOption)
  }
  return Build.ethernet(0x86dd, tags: tags)
    + Build.ipv6(trafficClass: 0xbb, label: 0x95a5a, next: first, chain + payload)
}

private let segment = Build.tcp(1094, 40000)
private let datagram = Build.udp(1094, 40000)

private struct Shape: Sendable, CustomTestStringConvertible {
  let name: String
  let transport: UInt8
  let payload: [UInt8]
  var testDescription: String { name }
}

private let shapes = [
  Shape(name: "TCP", transport: 6, payload: segment), Shape(name: "UDP", transport: 17, payload: datagram),
  Shape(name: "SCTP", transport: 132, payload: datagram),
]

@Suite(.enabled(if: geteuid() == 0, "BPF needs root")) struct HeaderPacketTests {
  private func ready(_ headers: ExtensionHeaders, mtu: UInt32 = 1500) throws -> TestRun {
    let run = try TestRun(mtu: mtu)
    #expect(run.mark([tcp, udp, sctp], try mark(headers)) == [nil, nil, nil])
    return run
  }

  /// Nothing changes but the payload length, the next header and what is inserted.
  @Test(arguments: ExtensionHeaders.allCases, shapes)
  private func inserted(headers: ExtensionHeaders, shape: Shape) throws {
    let run = try ready(headers)
    let result = try run.run(packet(nil, transport: shape.transport, shape.payload))
    let want = packet(headers, transport: shape.transport, shape.payload)
    #expect(result == TestRun.Result(verdict: -1, packet: want))
    var counts: [FlowKey: Usage] = [:]
    try run.path.readUsage { counts[$0] = $1 }
    #expect(
      counts.values.filter { $0.packets > 0 } == [Usage(packets: 1, bytes: UInt64(want.count - 14))])
    #expect(run.path.tooBigPackets == 0 && run.path.unwritablePackets == 0)
  }

  @Test(arguments: ExtensionHeaders.allCases) func twiceIsOnce(headers: ExtensionHeaders) throws {
    let run = try ready(headers)
    let want = packet(headers, transport: 6, segment)
    #expect(try run.run(want) == TestRun.Result(verdict: -1, packet: want))
    #expect(run.path.unwritablePackets == 0)
  }

  /// A packet with headers of its own leaves as it came, whichever they are.
  @Test(arguments: ExtensionHeaders.allCases) func ownHeaders(headers: ExtensionHeaders) throws {
    let run = try ready(headers)
    let authentication: [UInt8] = [6, 4, 0, 0] + [UInt8](repeating: 7, count: 20)
    let others: [(UInt8, [UInt8])] = [
      (0, Build.options(next: 6) + segment), (60, Build.options(next: 6) + segment),
      (0, Build.options(next: 60) + Build.options(next: 6) + segment),
      (60, Build.options(next: 6, length: 64) + segment),
      (43, [6, 2, 4, 0, 0, 0, 0, 0] + Build.address(9) + segment), (51, authentication + segment),
      (44, Build.fragment(next: 6, offset: 0, more: true, identification: 1) + segment),
      (44, Build.fragment(next: 6, offset: 0, more: false, identification: 2) + segment),
      (44, Build.fragment(next: 6, offset: 9, more: false, identification: 1) + segment),
    ]
    for (index, (next, payload)) in others.enumerated() {
      let plain = packet(nil, transport: next, payload)
      #expect(try run.run(plain) == TestRun.Result(verdict: -1, packet: plain), "\(next)")
      #expect(run.path.unwritablePackets == UInt64(index + 1), "\(next)")
    }
  }

  /// A test run's output has no metadata, where the outer tag goes. The lab tests see both on the wire.
  @Test(
    arguments: ExtensionHeaders.allCases,
    [[(0x8100, 0xf123)], [(0x88a8, 0x0123)], [(0x88a8, 0x0123), (0x8100, 0xe456)]]
      as [[(UInt16, UInt16)]])
  func inlineTags(headers: ExtensionHeaders, tags: [(UInt16, UInt16)]) throws {
    let run = try ready(headers)
    let plain = packet(nil, tags: tags, transport: 6, segment)
    let want = packet(headers, tags: Array(tags.dropFirst()), transport: 6, segment)
    #expect(try run.run(plain) == TestRun.Result(verdict: -1, packet: want))
    #expect(run.path.unwritablePackets == 0)
  }

  @Test(arguments: ExtensionHeaders.allCases) func noLargerThanTheLinkTakes(headers: ExtensionHeaders) throws
  {
    let run = try ready(headers, mtu: 200)
    let most = 200 - 40 - 8 - headers.length
    for size in most - 2...most + 2 {
      let payload = Build.udp(1094, 40000, payload: [UInt8](repeating: 1, count: size))
      let fits = size <= most
      let want = packet(fits ? headers : nil, transport: 17, payload)
      #expect(
        try run.run(packet(nil, transport: 17, payload)) == TestRun.Result(verdict: -1, packet: want),
        "\(size)")
    }
    #expect(run.path.tooBigPackets == 2 && run.path.unwritablePackets == 0)
    // A link of unknown MTU takes nothing.
    run.path.detach(fromInterface: 1)
    let plain = packet(nil, transport: 17, datagram)
    #expect(try run.run(plain).packet == plain)
    #expect(run.path.tooBigPackets == 3)
  }

  /// The kernel makes no room in super-packets that are neither TCP's nor UDP's, as these are not.
  @Test(arguments: [(6, segment), (17, datagram), (132, datagram)] as [(UInt8, [UInt8])])
  func whatTheKernelRefusesIsAsItCame(transport: UInt8, payload: [UInt8]) throws {
    let run = try ready(.hopByHopDestination)
    let plain = packet(nil, transport: transport, payload + [UInt8](repeating: 1, count: 300))
    #expect(try run.run(plain, gsoSize: 100) == TestRun.Result(verdict: -1, packet: plain))
    #expect(run.path.unwritablePackets == 3, "the segments of a super-packet")
    // Also when its tags had been moved before, as TCP's are.
    let tagged = packet(
      nil, tags: [(0x88a8, 1), (0x8100, 2)], transport: transport, payload + [UInt8](repeating: 1, count: 300)
    )
    let want = packet(
      nil, tags: [(0x8100, 2)], transport: transport, payload + [UInt8](repeating: 1, count: 300))
    let result = try run.run(tagged, gsoSize: 100)
    #expect(result.packet == (transport == 6 ? want : tagged))
    #expect(run.path.unwritablePackets == 6)
  }

  @Test(arguments: ExtensionHeaders.allCases, shapes)
  private func truncated(headers: ExtensionHeaders, shape: Shape) throws {
    let run = try ready(headers)
    for tags in [[], [(0x8100, 5)], [(0x88a8, 5), (0x8100, 6)]] as [[(UInt16, UInt16)]] {
      let whole = packet(nil, tags: tags, transport: shape.transport, shape.payload)
      let marked = packet(headers, tags: Array(tags.dropFirst()), transport: shape.transport, shape.payload)
      let ports = whole.count - shape.payload.count + 4
      // A test run takes no IPv6 packet that ends within its header.
      for length in (tags.isEmpty ? 54 : 14)..<whole.count {
        let cut = Array(whole[..<length])
        let want = length < ports ? cut : Array(marked.dropLast(whole.count - length))
        #expect(try run.run(cut) == TestRun.Result(verdict: -1, packet: want), "\(length) of \(whole.count)")
      }
    }
  }

  @Test func others() throws {
    let run = try ready(.hopByHop)
    for packet in [
      Build.ethernet(0x0800) + Build.ipv4(protocol: 6, segment),
      packet(nil, transport: 6, Build.tcp(1095, 40000)),
      packet(nil, transport: 58, [128, 0, 0, 0, 0, 1, 0, 1]),
      packet(nil, tags: [(0x88a8, 1), (0x8100, 2), (0x8100, 3)], transport: 6, segment),
    ] {
      #expect(try run.run(packet) == TestRun.Result(verdict: -1, packet: packet))
    }
    #expect(run.path.unwritablePackets == 0 && run.path.tooBigPackets == 0)
  }

  /// Mark-all takes flows only: neighbour discovery goes on as it was.
  @Test func theMarkAllScope() throws {
    let run = try TestRun(mtu: 1500)
    try run.path.markAll(ScopeMarks(ipv6: try mark(.destination), ipv4: nil))
    #expect(
      try run.run(packet(nil, transport: 6, segment)).packet == packet(.destination, transport: 6, segment))
    let solicitation = packet(nil, transport: 58, [135, 0, 0, 0, 0, 0, 0, 0] + Build.address(2))
    #expect(try run.run(solicitation).packet == solicitation)
    #expect(run.path.scopeUsage.packets == 1 && run.path.unwritablePackets == 0)
    try run.path.markAll(
      ScopeMarks(
        ipv6: try mark(.destination), ipv4: nil,
        except: Exclusions(networks: [try Network(text: "2001:db8::2")])))
    #expect(try run.run(packet(nil, transport: 6, segment)).packet == packet(nil, transport: 6, segment))
    #expect(run.path.unwritablePackets == 0)
  }

  /// These programs stamp in place as well.
  @Test func labelsAndCodePoints() throws {
    let run = try TestRun(mtu: 1500)
    let label = Mark(label: LabelStamp(try #require(FlowLabel(SciTag(packed: 206))), .flow))
    #expect(run.mark([tcp], label) == [nil])
    let frame = try #require(Frame(run.run(packet(nil, transport: 6, segment)).packet))
    #expect(frame.flowLabel == 0x30038 && frame.optionHeaders.isEmpty)
  }

  @Test func programsThatCannotRefuse() throws {
    let run = try TestRun()
    #expect(run.mark([tcp], try mark(.hopByHop)) == [PathFailure(.tc, code: EOPNOTSUPP)])
    #expect(throws: PathError.self) {
      try run.path.markAll(ScopeMarks(ipv6: try mark(.hopByHop), ipv4: nil))
    }
  }
}
