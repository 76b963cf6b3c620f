import Flow
import Glibc
import Lab
import Testing

@testable import XDP

private typealias Build = PacketBuilder

private let key = FlowKey(
  local: Endpoint(Address(ipv4: 0xc000_0201), 1094), remote: Endpoint(Address(ipv4: 0xc000_0202), 40000),
  transport: .tcp)
private let key6 = FlowKey(
  local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094),
  remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 40000), transport: .tcp)

@Suite(.enabled(if: geteuid() == 0, "BPF needs root")) struct CodePointPacketTests {
  private func ready(_ codePoint: Int, onlyIfUnset: Bool) throws -> TestRun {
    let run = try TestRun()
    let mark = Mark(codePoint: CodePointStamp(try #require(CodePoint(codePoint)), onlyIfUnset: onlyIfUnset))
    #expect(run.mark([key, key6], mark) == [nil, nil])
    return run
  }

  private func ipv4(_ tos: UInt8, identification: UInt16 = 1, options: [UInt8] = []) -> [UInt8] {
    Build.ethernet(0x0800)
      + Build.ipv4(
        tos: tos, protocol: 6, identification: identification, options: options, Build.tcp(1094, 40000))
  }

  private func ipv6(_ trafficClass: UInt8) -> [UInt8] {
    Build.ethernet(0x86dd)
      + Build.ipv6(trafficClass: trafficClass, label: 0x95a5a, next: 6, Build.tcp(1094, 40000))
  }

  /// Every old value and several new ones: the rebuilt packet has a checksum computed from nothing.
  @Test(arguments: [0, 1, 11, 46, 63]) func everyOldValue(codePoint: Int) throws {
    let run = try ready(codePoint, onlyIfUnset: false)
    for old in 0...255 as ClosedRange<UInt8> {
      let new = UInt8(codePoint) << 2 | old & 3
      #expect(try run.run(ipv4(old)) == TestRun.Result(verdict: -1, packet: ipv4(new)), "TOS \(old)")
      #expect(
        try run.run(ipv6(old)) == TestRun.Result(verdict: -1, packet: ipv6(new)), "traffic class \(old)")
    }
  }

  /// The incremental checksum's edges, 0x0000 and 0xffff, are among 65,536 identifications.
  @Test func everyChecksum() throws {
    let run = try ready(11, onlyIfUnset: false)
    for identification in 0...UInt16.max {
      let result = try run.run(ipv4(2, identification: identification))
      if result.packet != ipv4(11 << 2 | 2, identification: identification) {
        Issue.record("identification \(identification): \(result.packet)")
      }
    }
  }

  @Test func onlyIfUnset() throws {
    let run = try ready(11, onlyIfUnset: true)
    for ecn in 0...3 as ClosedRange<UInt8> {
      #expect(try run.run(ipv4(ecn)).packet == ipv4(11 << 2 | ecn))
      #expect(try run.run(ipv4(46 << 2 | ecn)).packet == ipv4(46 << 2 | ecn))
      #expect(try run.run(ipv6(1 << 2 | ecn)).packet == ipv6(1 << 2 | ecn))
    }
  }

  @Test func optionsAndTags() throws {
    let run = try ready(11, onlyIfUnset: true)
    let options: [UInt8] = [0x94, 4, 0, 0]  // router alert, RFC 2113
    #expect(try run.run(ipv4(1, options: options)).packet == ipv4(45, options: options))
    func tagged(_ tos: UInt8) -> [UInt8] {
      Build.ethernet(0x0800, tags: [(0x88a8, 1), (0x8100, 2)])
        + Build.ipv4(tos: tos, protocol: 6, Build.tcp(1094, 40000))
    }
    #expect(try run.run(tagged(1)).packet == tagged(45))
  }

  @Test func fragments() throws {
    let run = try TestRun()
    let udp = FlowKey(local: key.local, remote: key.remote, transport: .udp)
    let mark = Mark(codePoint: CodePointStamp(try #require(CodePoint(11)), onlyIfUnset: true))
    _ = run.mark([udp], mark)
    /// Offset in eight bytes; the flag "more fragments" is 0x2000.
    func piece(_ position: UInt16, tos: UInt8) -> [UInt8] {
      Build.ethernet(0x0800)
        + Build.ipv4(tos: tos, protocol: 17, fragment: position, identification: 9, Build.udp(1094, 40000))
    }
    #expect(try run.run(piece(185, tos: 0)).packet == piece(185, tos: 0))
    #expect(try run.run(piece(0x2000, tos: 0)).packet == piece(0x2000, tos: 44))
    #expect(try run.run(piece(185, tos: 0)).packet == piece(185, tos: 44))
  }

  @Test func truncated() throws {
    let run = try ready(11, onlyIfUnset: true)
    let whole = ipv4(0)
    // A test run takes no packet that ends within its IP header.
    for length in 34..<whole.count {
      let want = Array((length < 38 ? whole : ipv4(44))[..<length])
      #expect(try run.run(Array(whole[..<length])).packet == want, "\(length) bytes")
    }
  }
}
