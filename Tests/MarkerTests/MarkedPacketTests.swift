import Flow
import Lab
import Testing

@testable import Marker

/// What packets of every shape say of marks.
@Suite struct MarkedPacketTests {
  private let names = MarkNames(.embedded, CodePointMap())
  private var text: PacketText { PacketText(names: names) }

  private func packet(_ frame: [UInt8], _ link: LinkType = .ethernet) -> MarkedPacket? {
    frame.withUnsafeBytes {
      MarkedPacket(CapturedPacket(frame: $0, length: frame.count, time: 0, interface: 0), link)
    }
  }

  private func words(_ frame: [UInt8], _ link: LinkType = .ethernet) throws -> String {
    let read = packet(frame, link)
    let found = try #require(read)
    return text.words(found, ReadMarks(found, names), .unknown)
  }

  private func option(_ next: UInt8, _ bytes: [UInt8]) -> [UInt8] { [next, 0] + bytes }

  private func ipv6(label: UInt32 = 0, next: UInt8 = 6, _ headers: [UInt8] = []) -> [UInt8] {
    PacketBuilder.ethernet(0x86dd)
      + PacketBuilder.ipv6(label: label, next: next, headers + PacketBuilder.tcp(34567, 1094))
  }

  @Test(arguments: [
    (UInt32(0x30038), "label 0x30038 cms/Analysis Input"), (0xf013b, "label 0xf013b cms/Analysis Input"),
    (0, "label 0"), (0x300f0, "label 0x300f0 cms/60? (no such activity is registered)"),
    (0x3fefc, "label 0x3fefc of no registered experiment (would be 511/63)"),
  ])
  func labels(label: UInt32, expected: String) throws {
    #expect(try words(ipv6(label: label)) == expected)
    let found = packet(ipv6(label: label))
    #expect(found.map { ReadMarks($0, names).isMarked } == (expected.hasSuffix("Analysis Input")))
  }

  @Test(arguments: [
    ([0x1e, 3, 0, 3, 14, 0] as [UInt8], "cms/Analysis Input"),
    // Behind Pad1s and a PadN; not the first option.
    ([0, 0, 1, 0, 0, 0], ""),
    // The label of 14/1 in three bytes: as numbers it would be experiment 448.
    (
      [0x1e, 3, 0x01, 0xc0, 0x04, 0],
      "xenon/default (as flowd-go up to 2.2 wrote it, or 448/4 as flowd-go 2.3 and later write it)"
    ),
    ([0x1e, 3, 0x0d, 0x01, 0x43, 0], "atlas/Production Output (as flowd-go up to 2.2 wrote it)"),
    ([0x1f, 4, 0, 0x03, 0x00, 0x38], "cms/Analysis Input (as flowd-go of November 2024 wrote it)"),
    ([0x1e, 3, 0xff, 0xff, 0xff, 0], "of type 0x1e with 3 bytes, 0xffffff, which is no SciTag"),
    ([0x1e, 2, 0, 3, 0, 0], "of type 0x1e with 2 bytes, 0x3, which is no SciTag"),
  ])
  func options(bytes: [UInt8], expected: String) throws {
    for (next, name) in [(UInt8(0), "hop-by-hop option"), (60, "destination option")] {
      let said = try words(ipv6(next: next, option(6, bytes)))
      #expect(said == (expected.isEmpty ? "label 0" : "\(name) \(expected), label 0"))
    }
  }

  @Test func bothHeaders() throws {
    let tag = [0x1e, 3, 0, 2, 17, 0] as [UInt8]
    let said = try words(ipv6(label: 0x30038, next: 0, option(60, tag) + option(6, tag)))
    #expect(
      said == "hop-by-hop option atlas/Analysis Input, destination option atlas/Analysis Input, "
        + "label 0x30038 cms/Analysis Input")
  }

  @Test func codePoints() throws {
    func ipv4(_ dscp: UInt8) -> [UInt8] {
      PacketBuilder.ethernet(0x0800)
        + PacketBuilder.ipv4(tos: dscp << 2 | 1, protocol: 17, PacketBuilder.udp(5, 6))
    }
    #expect(try words(ipv4(15)) == "dscp 15 cms")
    #expect(try words(ipv4(46)) == "dscp 46 of no tag")
    #expect(try words(ipv4(0)) == "dscp 0")
    var map = try CodePointMap(adding: "3/14=46,2=46,default=none")
    #expect(
      MarkNames(.embedded, map).meaning(of: 46).map(MarkNames(.embedded, map).name) == "several experiments")
    map = CodePointMap(.le)
    #expect(MarkNames(.embedded, map).meaning(of: 1)?.experiment == nil)
    map = try CodePointMap(adding: "3/14=46")
    #expect(
      MarkNames(.embedded, map).meaning(of: 46).map(MarkNames(.embedded, map).name) == "cms/Analysis Input")
  }

  @Test func linkLayers() throws {
    let ip = PacketBuilder.ipv6(label: 0x30038, next: 17, PacketBuilder.udp(5, 6))
    let said = "label 0x30038 cms/Analysis Input"
    for link in [LinkType.raw, .ipv6] { #expect(try words(ip, link) == said) }
    #expect(try words([0, 0, 0, 10] + ip, .null) == said)
    #expect(try words([UInt8](repeating: 0, count: 14) + [0x86, 0xdd] + ip, .cooked) == said)
    #expect(try words([0x86, 0xdd] + [UInt8](repeating: 0, count: 18) + ip, .cooked2) == said)
    let tagged = PacketBuilder.ethernet(0x86dd, tags: [(0x88a8, 5), (0x8100, 7)]) + ip
    #expect(try words(tagged) == said)
    #expect(packet(PacketBuilder.ethernet(0x0806) + ip) == nil)
  }

  /// Cut anywhere, damaged anywhere: no crash, and nothing is read that is not there.
  @Test func hostilePackets() throws {
    let tag = [0x1e, 3, 0, 2, 17, 0] as [UInt8]
    let whole = ipv6(label: 0x30038, next: 0, option(60, tag) + option(6, tag))
    for count in 0..<whole.count {
      // An exact allocation, so that a sanitiser or a guard would see a read beyond.
      let cut = Array(whole[..<count])
      let isThere = packet(cut) != nil
      // Ethernet, IPv6, two headers, and the ports.
      #expect(isThere == (count >= 14 + 40 + 16 + 4))
    }
    var random = SplitMix(state: 7)
    for _ in 0..<20_000 {
      var damaged = whole
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        damaged[Int.random(in: 12..<damaged.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      damaged.removeLast(Int.random(in: 0...30, using: &random))
      if let packet = packet(damaged) { _ = text.words(packet, ReadMarks(packet, names), .unknown) }
    }
  }

  @Test func filters() throws {
    let (one, other) = (packet(ipv6(label: 0x30038)), packet(ipv6(label: 0x9f3a1)))
    let marked = try #require(one)
    let foreign = try #require(other)
    func passes(
      _ packet: MarkedPacket, _ change: (inout SniffFilter) -> Void,
      _ verdict: ExpectedMarks.Verdict = .unknown
    ) -> Bool {
      var filter = SniffFilter()
      change(&filter)
      return filter.lets(packet, ReadMarks(packet, names), verdict)
    }
    #expect(passes(marked) { $0.experiment = 3 } && !passes(marked) { $0.experiment = 2 })
    #expect(passes(marked) { $0.activity = 14 } && !passes(marked) { $0.activity = 15 })
    #expect(passes(marked) { $0.wanted = .marked } && !passes(foreign) { $0.wanted = .marked })
    #expect(!passes(marked) { $0.wanted = .unmarked } && passes(foreign) { $0.wanted = .unmarked })
    let tag = SciTag(packed: 206)
    #expect(passes(foreign, { $0.wanted = .missing }, .missing(tag)))
    #expect(!passes(foreign, { $0.wanted = .missing }, .unsure(tag)))
    #expect(passes(foreign, { $0.experiment = 3 }, .missing(tag)))
    #expect(passes(marked) { $0.ports = [PortRange(1094)].compactMap(\.self) })
    #expect(!passes(marked) { $0.ports = [PortRange(80)].compactMap(\.self) })
    #expect(passes(marked) { $0.networks = [Network("2001:db8::/64")].compactMap(\.self) })
    #expect(!passes(marked) { $0.networks = [Network("2001:db9::/64")].compactMap(\.self) })
    #expect(passes(marked) { $0.families = .ipv6 } && !passes(marked) { $0.families = .ipv4 })
    #expect(passes(marked) { $0.transport = 6 } && !passes(marked) { $0.transport = 17 })
  }
}
