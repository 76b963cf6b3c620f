import Flow
import Glibc
import Lab
import Testing

@testable import NFT

@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct SmokeTests {
  @Test func lists() throws {
    let lab = try PathLab(interfaces: ["near0"])
    lab.apply([
      .init(.mark, .near(5000, 6000), .label(0x1803c)), .init(.mark, .near(5001, 6000), .label(0xd810f)),
      .init(.mark, .near(5002, 6000), .label(0xd810f, .flow)),
      .init(.mark, .near(5000, 6000, .udp, isIPv4: true), .dscp(11, onlyIfUnset: true)),
      .init(.mark, .near(5000, 6000, .udp), .dscp(11)),
    ])
    print(try lab.list())
    try lab.path.markAll(ScopeMarks(ipv6: .label(0x10004), ipv4: .dscp(1)))
    print(try lab.list())
    print(try lab.pair.near.shell("nft list table inet marker >/tmp/m.nft; nft -f /tmp/m.nft && echo reloaded"))
    var batch = ChangeBatch()
    batch.changes = [
      .init(.remark, .near(5000, 6000), .label(0x10008)), .init(.unmark, .near(5001, 6000), .label(0xd810f)),
      .init(.unmark, .near(5009, 6000), .label(0xd810f)),
    ]
    lab.path.apply(&batch)
    for change in batch.changes { print(change) }
    try lab.path.markAll(nil)
    print(try lab.list())
    try lab.path.detach()
    #expect(try lab.pair.near.shell("nft list ruleset") == "")
  }
}
