import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import NFT

/// How the path gets on with others in the same kernel.
@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct NeighbourTests {
  /// Another's table on the same hook, before and behind ours.
  static let foreign = """
    table inet site {
      chain before { type filter hook postrouting priority mangle - 1; udp sport 5007 meta mark set 0x77; }
      chain after {
        type filter hook postrouting priority mangle + 1;
        meta mark 0x77 counter
        udp sport 5008 ip6 dscp set 21
      }
    }
    """

  private func add(_ rules: String, _ lab: PathLab) throws {
    try lab.pair.near.shell("nft -f - <<'END'\n\(rules)\nEND")
  }

  @Test("a foreign table on the same hook works on, and stays when we go")
  func foreignTable() throws {
    let lab = try PathLab()
    try add(Self.foreign, lab)
    let before = try lab.pair.near.shell("nft -s list table inet site")
    lab.mark(.near(5000), .dscp(11))
    lab.mark(.near(5008), .label(0x1803c, .flow))
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [11])
    let shared = try #require(try lab.datagram(.near(5008)).first)
    #expect((shared.dscp, shared.flowLabel) == (21, 0x1803c))
    try lab.path.detach()
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [0])
    #expect(try lab.pair.near.shell("nft list tables") == "table inet site\n")
    #expect(try lab.pair.near.shell("nft -s list table inet site") == before)
    try lab.path.detach()
  }

  @Test("the packet mark of others is as it was, also on marked packets")
  func packetMarks() throws {
    let lab = try PathLab()
    try add(
      """
      table inet site { chain after {
        type filter hook postrouting priority 0;
        udp sport { 5000, 5001 } meta mark 0 counter comment "none"
        udp sport { 5000, 5001 } meta mark 0xdeadbeef counter comment "some"
        udp sport { 5000, 5001 } meta mark != { 0, 0xdeadbeef } counter comment "other"
      }
      }
      """, lab)
    lab.mark(.near(5000), .dscp(11))
    let mark = Int32(bitPattern: 0xdead_beef)
    // A packet mark that was never seen before passes once, then it is served.
    #expect(try lab.datagram(.near(5000), packetMark: mark).map(\.dscp) == [0])
    #expect(try lab.path.learnPacketMarks() >= 1)
    #expect(try lab.path.learnPacketMarks() == 0)
    for _ in 0..<3 {
      #expect(try lab.datagram(.near(5000), packetMark: mark).map(\.dscp) == [11])
      #expect(try lab.datagram(.near(5000)).map(\.dscp) == [11])
      #expect(try lab.datagram(.near(5001), packetMark: mark).map(\.dscp) == [0])
    }
    let rules = try lab.pair.near.shell("nft list table inet site").split(separator: "\n")
    for (comment, packets) in [("none", 3), ("some", 7), ("other", 0)] {
      #expect(
        rules.contains { $0.contains("packets \(packets) ") && $0.contains("\"\(comment)\"") }, "\(comment)")
    }
    // What was learnt is there again when the table was made anew.
    try lab.path.restore { $0(.near(5000), .dscp(15), nil) }
    #expect(try lab.datagram(.near(5000), packetMark: mark).map(\.dscp) == [15])
  }

  @Test("more packet marks than can be served are told, and pass unmarked and unchanged")
  func tooManyPacketMarks() throws {
    let lab = try PathLab()
    lab.mark(.near(5000), .dscp(11))
    let socket = try LabSocket(.udp, in: lab.pair.near, bound: FlowKey.near(5000).local)
    for number: Int32 in 1...300 {
      try socket.set(SOL_SOCKET, SO_MARK, number)
      try socket.send([1], to: FlowKey.near(5000).remote)
    }
    #expect(try lab.path.learnPacketMarks() == Ruleset.keptLimit - 1)
    #expect(lab.path.packetMarksExceedLimit)
    try lab.path.learnPacketMarks()
  }

  @Test("a flush of the whole rule set under traffic is noticed, told, and put right within a second")
  func flush() throws {
    let lab = try PathLab()
    let path = lab.path
    let watch = try lab.pair.near.run { () throws(SystemError) -> NFTWatch in try NFTWatch(for: path) }
    let flows: [(FlowKey, Mark)] =
      (0..<1000).map { (.silent($0), .dscp(11)) } + [
        (.near(5000), .dscp(15)), (.near(5000, isIPv4: true), .dscp(19)),
      ]
    lab.mustApply(flows.map { .init(.mark, $0.0, $0.1) })
    lab.mustApply([.init(.unmark, .silent(1), .dscp(11)), .init(.mark, .silent(1), .dscp(11))])
    try path.markAll(ScopeMarks(ipv6: .dscp(1), ipv4: nil))
    #expect(try watch.check() == .nothing)
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [15])

    try lab.pair.near.shell("nft flush ruleset")
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [0])
    // A change meanwhile is not a failure, it waits for the restoration.
    #expect(lab.apply([.init(.mark, .near(5001), .dscp(23))]).map(\.failure) == [nil])
    #expect(path.isLost)
    let start = ContinuousClock.now
    var ready = pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0)
    #expect(poll(&ready, 1, 1000) == 1)
    guard case .harmed(let changer) = try watch.check() else {
      Issue.record("the flush was not noticed")
      return
    }
    #expect(changer?.process == "nft")
    try path.restore { body in
      for (key, mark) in flows + [(.near(5001), .dscp(23))] { body(key, mark, Usage(packets: 7, bytes: 700)) }
    }
    #expect(ContinuousClock.now - start < .seconds(1))
    #expect(path.restorations == 1 && !path.isLost)
    #expect(try watch.check() == .nothing)
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [15])
    #expect(try lab.datagram(.near(5001)).map(\.dscp) == [23])
    #expect(try lab.datagram(.near(5002)).map(\.dscp) == [1])
    #expect(try lab.datagram(.near(5000, isIPv4: true)).map(\.dscp) == [19])
    // Counts go on where they were.
    #expect(lab.apply([.init(.unmark, .near(5001), .dscp(23))])[0].usage == Usage(packets: 8, bytes: 848))
  }

  @Test(
    "every kind of meddling with our table is noticed, and nothing else",
    arguments: [
      ("nft delete table inet marker", true), ("nft flush chain inet marker match", true),
      ("nft flush map inet marker marks", true),
      ("nft add table inet site; nft delete table inet site", false),
      ("nft add table ip marker; nft delete table ip marker", false), ("nft list ruleset", false),
    ])
  func meddling(command: String, isHarm: Bool) throws {
    let lab = try PathLab()
    let path = lab.path
    let watch = try lab.pair.near.run { () throws(SystemError) -> NFTWatch in try NFTWatch(for: path) }
    lab.mark(.near(5000), .dscp(15))
    try lab.pair.near.shell(command)
    let finding = try watch.check()
    #expect((finding != .nothing) == isHarm)
    try path.restore { $0(.near(5000), .dscp(15), nil) }
    #expect(try lab.datagram(.near(5000)).map(\.dscp) == [15])
    #expect(try watch.check() == .nothing)
  }
}
