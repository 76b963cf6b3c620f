import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import NFT

/// How changes become transactions.
@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct PathTests {
  @Test("changes of one key take effect in their order, also within one batch")
  func order() throws {
    let lab = try PathLab()
    let (a, b, c, d) = (FlowKey.near(5000), FlowKey.near(5001), FlowKey.near(5002), FlowKey.near(5003))
    lab.mustApply([.init(.mark, c, .dscp(1)), .init(.mark, d, .dscp(1))])
    lab.mustApply([
      .init(.mark, a, .dscp(11)), .init(.unmark, a, .dscp(11)),
      .init(.mark, b, .dscp(11)), .init(.remark, b, .dscp(15)), .init(.remark, b, .dscp(19)),
      .init(.unmark, c, .dscp(1)), .init(.mark, c, .dscp(23)),
      .init(.unmark, d, .dscp(1)), .init(.mark, d, .dscp(2)), .init(.unmark, d, .dscp(2)),
      .init(.mark, d, .dscp(27)), .init(.remark, d, .dscp(31)),
    ])
    for (key, dscp) in [(a, 0), (b, 19), (c, 23), (d, 31)] as [(FlowKey, UInt8)] {
      #expect(try lab.datagram(key).map(\.dscp) == [dscp], "\(key)")
    }
    // Only marks in use have a chain.
    #expect(
      lab.path.words
        == [19, 23, 31].reduce(into: [:]) { $0[MarkWord(.dscp($1), isIPv4: false)!.rawValue] = 1 })
    let chains = try lab.list().split(separator: "\n").filter { $0.contains("chain ip6_dscp") }
    #expect(chains.count == 3)
  }

  @Test("counts come back when a flow ends, go on when it is marked anew, and can be read in between")
  func usage() throws {
    let lab = try PathLab()
    // An IPv6 and a UDP header and 100 bytes.
    let bytes: UInt64 = 148
    lab.mustApply([.init(.mark, .near(5000), .label(0x1803c)), .init(.mark, .near(5001), .label(0x1803c))])
    for _ in 0..<3 { _ = try lab.datagram(.near(5000)) }
    func read() throws -> [FlowKey: Usage] {
      var usage: [FlowKey: Usage] = [:]
      try lab.path.readUsage { usage[$0] = $1 }
      return usage
    }
    #expect(try read() == [.near(5000): Usage(packets: 3, bytes: 3 * bytes), .near(5001): Usage()])
    lab.mustApply([.init(.remark, .near(5000), .label(0x30038))])
    _ = try lab.datagram(.near(5000))
    #expect(try read()[.near(5000)] == Usage(packets: 4, bytes: 4 * bytes))
    let ends = lab.apply([
      .init(.unmark, .near(5001), .label(0x1803c)), .init(.unmark, .near(5000), .label(0x30038)),
    ])
    #expect(ends.map(\.usage) == [Usage(), Usage(packets: 4, bytes: 4 * bytes)])
    #expect(try read().isEmpty)
  }

  @Test("extension headers are refused, alone")
  func extensionHeaders() throws {
    let lab = try PathLab()
    let option = try #require(TagOption(SciTag(packed: 206)))
    let headers = Mark(headers: HeaderStamp(option, .destination))
    let done = lab.apply([
      .init(.mark, .near(5000), headers), .init(.mark, .near(5001), .dscp(11)),
      .init(.remark, .near(5001), headers),
    ])
    let refused = PathFailure(.nft, code: EOPNOTSUPP)
    #expect(done.map(\.failure) == [refused, nil, refused])
    #expect(try lab.datagram(.near(5001)).map(\.dscp) == [11])
    #expect(lab.apply([.init(.unmark, .near(5000), headers)]).map(\.failure) == [nil])
    #expect(throws: PathError.self) { try lab.path.markAll(ScopeMarks(ipv6: headers, ipv4: nil)) }
  }

  @Test("what the kernel refuses fails alone: its neighbours get in, what was there stays")
  func refusal() throws {
    // ENFILE: the map holds five.
    let lab = try PathLab(flowLimit: 5)
    lab.mustApply((0..<3).map { .init(.mark, .near(5000 + $0), .dscp(11)) })
    let changes = lab.apply(
      [.init(.unmark, .near(9999), .dscp(11)), .init(.remark, .near(9998), .dscp(11))]
        + (3..<8).map { .init(.mark, .near(5000 + $0), .dscp(15)) }
        + [.init(.mark, .near(5000, isIPv4: true), .dscp(19))])
    #expect(changes.prefix(2).map { $0.failure?.code } == [ENOENT, ENOENT])
    #expect(changes[2...6].compactMap { $0.failure?.code } == [ENFILE, ENFILE, ENFILE])
    #expect(changes[7].failure == nil)
    for number: UInt16 in 0..<3 { #expect(try lab.datagram(.near(5000 + number)).map(\.dscp) == [11]) }
    #expect(try lab.datagram(.near(5000, isIPv4: true)).map(\.dscp) == [19])
    let taken = try (3..<8).filter { try lab.datagram(.near(5000 + $0)).map(\.dscp) == [15] }
    #expect(taken.count == 2)
    #expect(lab.path.words.values.sorted() == [1, 2, 3])
  }

  @Test("a chain that somebody else uses is left, and the flow is unmarked all the same")
  func busyChain() throws {
    let lab = try PathLab()
    lab.mark(.near(5000), .dscp(11))
    // EBUSY: the chain cannot be removed while this rule jumps to it.
    try lab.pair.near.shell(
      "nft add rule inet marker rest_of_admin 2>/dev/null; nft add chain inet marker admin")
    try lab.pair.near.shell("nft add rule inet marker admin jump ip6_dscp_11")
    lab.mustApply([.init(.unmark, .near(5000), .dscp(11)), .init(.mark, .near(5001), .dscp(15))])
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [0])
    #expect(try lab.datagram(.near(5001)).map(\.dscp) == [15])
    lab.mark(.near(5000), .dscp(11))
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [11])
  }

  @Test("a transaction whose answer was lost is read back")
  func lostAnswer() throws {
    let lab = try PathLab()
    lab.mustApply((0..<2000).map { .init(.mark, .silent($0), .dscp(11)) })
    // Too little for the reports of 2000 deleted elements: ENOBUFS.
    lab.path.socket.setReceiveRoom(2048)
    let changes = lab.apply((0..<2000).map { .init(.unmark, .silent($0), .dscp(11)) })
    #expect(changes.allSatisfy { $0.failure == nil })
    lab.path.socket.setReceiveRoom(1 << 20)
    #expect(lab.path.words.isEmpty)
    var left = 0
    try lab.path.readUsage { _, _ in left += 1 }
    #expect(left == 0)
  }

  @Test(
    "many flows in one batch, both families", .timeLimit(.minutes(1)), arguments: [0, 1, 10_000, 100_000])
  func many(count: Int) throws {
    let lab = try PathLab()
    lab.mustApply((0..<count).map { .init(.mark, .silent($0, isIPv4: $0 % 4 == 0), .dscp(11)) })
    lab.mark(.near(5000), .label(0x1803c, .flow))
    #expect(try lab.datagram(.near(5000)).map(\.flowLabel) == [0x1803c])
    var found = 0
    try lab.path.readUsage { _, _ in found += 1 }
    #expect(found == count + 1)
    let ends = lab.apply((0..<count).map { .init(.unmark, .silent($0, isIPv4: $0 % 4 == 0), .dscp(11)) })
    #expect(ends.allSatisfy { $0.failure == nil && $0.usage == Usage() })
  }

  @Test("a process's flows outlive it, and the next one takes them over with their counts")
  func takeOver() throws {
    let pair = try VethPair()
    func path(_ flows: NFTPath.Flows = { _ in }) throws -> NFTPath {
      try pair.near.run { () throws(PathError) -> Boxed<NFTPath> in Boxed(try NFTPath(seed: 1, flows: flows))
      }.value
    }
    var lab = PathLab(pair, try path())
    lab.mustApply([
      .init(.mark, .near(5000), .label(0x1803c)), .init(.mark, .near(5000, isIPv4: true), .dscp(11)),
    ])
    _ = try lab.datagram(.near(5000))
    var left: [(FlowKey, Mark, Usage)] = []
    try pair.near.run { () throws(PathError) in try NFTPath.left { left.append(($0, $1, $2)) } }
    #expect(Set(left.map(\.0)) == [.near(5000), .near(5000, isIPv4: true)])
    lab = PathLab(pair, try path { body in for (key, mark, usage) in left { body(key, mark, usage) } })
    _ = try lab.datagram(.near(5000))
    let ends = lab.apply(left.map { .init(.unmark, $0.0, $0.1) })
    #expect(ends.first { !$0.key.isIPv4 }?.usage == Usage(packets: 2, bytes: 296))
    #expect(lab.path.words.isEmpty)
  }
}

extension PathLab {
  init(_ pair: VethPair, _ path: NFTPath) {
    self.pair = pair
    self.path = path
  }
}
