import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import NFT

/// Packets that are in our chains while a transaction takes effect.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct UnderWayTests {
  /// Sends datagrams without a pause, from a thread of its own, until it is stopped.
  private final class Flood: Sendable {
    private let stopping: EventCounter
    private let done: EventCounter

    init(_ socket: LabSocket, to remote: Endpoint) throws {
      stopping = try EventCounter()
      done = try EventCounter()
      startThread { [self] in
        while !stopping.wait(milliseconds: 0) {
          for _ in 0..<50 { try? socket.send([1], to: remote) }
        }
        done.signal()
      }
    }

    func stop() {
      stopping.signal()
      done.wait()
    }
  }

  /// A chain behind ours counts what leaves with another label than these.
  private func judge(_ lab: PathLab, _ labels: String) throws {
    try lab.pair.near.shell(
      """
      nft 'table inet judge {
        counter sent {}
        counter strange {}
        chain judge {
          type filter hook postrouting priority 0
          udp sport 5000 counter name sent
          udp sport 5000 ip6 flowlabel != { \(labels) } counter name strange
        }
      }'
      """)
  }

  private func counted(_ lab: PathLab, _ name: String) throws -> Int {
    let listing = try lab.pair.near.shell("nft list counter inet judge \(name)")
    let words = listing.split(whereSeparator: \.isWhitespace)
    let at = try #require(words.firstIndex(of: "packets"))
    return try #require(Int(words[at + 1]))
  }

  @Test("a flow's packets carry the old or the new mark while it changes, never none")
  func changingMark() throws {
    let lab = try PathLab()
    let key = FlowKey.near(5000)
    let marks = [Mark.label(0x10004, .flow), .label(0x30038, .flow)]
    lab.mark(key, marks[0])
    try judge(lab, "0x10004, 0x30038")
    let sink = try LabSocket(.udp, in: lab.pair.far, bound: key.remote)
    let flood = try Flood(try LabSocket(.udp, in: lab.pair.near, bound: key.local), to: key.remote)
    for turn in 1...400 { lab.mustApply([.init(.remark, key, marks[turn % 2])]) }
    flood.stop()
    withExtendedLifetime(sink) {}
    #expect(try counted(lab, "sent") > 1000)
    #expect(try counted(lab, "strange") == 0)
  }

  @Test("with everything marked, a flow that begins and ends is never without a mark")
  func flowOfMarkAll() throws {
    let lab = try PathLab()
    let key = FlowKey.near(5000)
    try lab.pair.near.shell("sysctl -qw net.ipv6.auto_flowlabels=0")
    // Without a label of the kernel's the free bits are drawn by a rule, the same for all packets of a flow.
    try lab.path.markAll(ScopeMarks(ipv6: .label(0x10004), ipv4: nil))
    let drawn = try #require(try lab.datagram(key).first).flowLabel
    try judge(lab, "\(drawn), 0x30038")
    let sink = try LabSocket(.udp, in: lab.pair.far, bound: key.remote)
    let flood = try Flood(try LabSocket(.udp, in: lab.pair.near, bound: key.local), to: key.remote)
    for _ in 1...500 {
      lab.mustApply([.init(.mark, key, .label(0x30038, .flow))])
      lab.mustApply([.init(.unmark, key, .label(0x30038, .flow))])
    }
    flood.stop()
    withExtendedLifetime(sink) {}
    #expect(try counted(lab, "sent") > 1000)
    #expect(try counted(lab, "strange") == 0)
  }

  @Test("while another path takes the table over, a flow's packets carry its mark")
  func takingOver() throws {
    let lab = try PathLab()
    let key = FlowKey.near(5000)
    let mark = Mark.label(0x10004, .flow)
    lab.mark(key, mark)
    try judge(lab, "0x10004")
    let sink = try LabSocket(.udp, in: lab.pair.far, bound: key.remote)
    let flood = try Flood(try LabSocket(.udp, in: lab.pair.near, bound: key.local), to: key.remote)
    for _ in 1...100 {
      _ = try lab.pair.near.run { () throws(PathError) -> Boxed<NFTPath> in
        Boxed(
          try NFTPath(seed: 7) { add in
            add(key, mark, nil)
            for number in 0..<500 { add(.silent(number), mark, nil) }
          })
      }
    }
    flood.stop()
    withExtendedLifetime(sink) {}
    #expect(try counted(lab, "sent") > 1000)
    #expect(try counted(lab, "strange") == 0)
    #expect(try lab.pair.near.shell("nft list tables | sort") == "table inet judge\ntable inet marker\n")
  }

  @Test("a stand-in that a killed process left goes with the next path, or when all is cleaned")
  func leftStandIn() throws {
    let lab = try PathLab()
    func leave() throws { _ = try lab.pair.near.shell("nft add table inet marker_standin") }
    func tables() throws -> String { try lab.pair.near.shell("nft list tables | sort") }
    try leave()
    _ = try lab.pair.near.run { () throws(PathError) in Boxed(try NFTPath(seed: 7)) }
    #expect(try tables() == "table inet marker\n")
    try leave()
    #expect(try lab.pair.near.run { () throws(PathError) in try NFTPath.clean() })
    #expect(try tables() == "")
    try leave()
    #expect(try lab.pair.near.run { () throws(PathError) in try NFTPath.clean() })
    #expect(try tables() == "")
  }
}
