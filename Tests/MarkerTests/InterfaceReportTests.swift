import Flow
import Testing

@testable import Linux
@testable import Marker

@Suite struct InterfaceReportTests {
  private func details(
    _ index: UInt32, _ name: String, kind: String = "", type: UInt16 = 1, master: UInt32 = 0,
    lower: UInt32 = 0,
    up: Bool = true, driver: String = "", queues: Int? = nil, xdp: XDPFeatures? = nil
  ) -> InterfaceDetails {
    InterfaceDetails(
      interface: Interface(
        index: index, name: name, hardwareType: type, kind: kind, master: master, lower: lower),
      mtu: 9000, isUp: up, hasCarrier: up, driver: driver, queues: queues, xdp: xdp)
  }

  private var host: [InterfaceDetails] {
    [
      details(1, "lo", type: 772),
      details(2, "eth0", master: 4, driver: "mlx5_core", queues: 16, xdp: [.native, .redirect, .zeroCopy]),
      details(3, "eth1", master: 4, up: false), details(4, "bond0", kind: "bond"),
      details(5, "bond0.7", kind: "vlan", lower: 4), details(6, "wg0", kind: "wireguard", type: 65534),
      details(7, "ib0", type: 32, driver: "mlx5_core"),
    ]
  }
  private let facts = InterfaceSelection.Facts(onDefaultRoute: [5], withGlobalAddress: [4, 5, 6])

  private func report(_ selection: InterfaceSelection = InterfaceSelection()) -> [String: InterfaceReport.Row]
  {
    let rows = InterfaceReport(selection, host, facts).rows
    return Dictionary(uniqueKeysWithValues: rows.map { ($0.name, $0) })
  }

  @Test func stacksAreResolved() throws {
    let rows = report()
    #expect(Set(rows.keys) == ["eth0", "eth1", "bond0", "bond0.7", "wg0", "ib0"], "all but the loopback")
    #expect(rows["eth0"]?.master == "bond0" && rows["eth0"]?.coveredBy == "bond0")
    #expect(rows["bond0.7"]?.below == "bond0" && rows["bond0.7"]?.coveredBy == "bond0")
    #expect(rows["bond0"]?.coveredBy == nil && rows["wg0"]?.coveredBy == nil)
    #expect(rows["bond0.7"]?.discoveredBy == [.defaultRoute], "by addresses the bond is taken for it")
    #expect(rows["bond0"]?.discoveredBy == [.globalAddress])
  }

  @Test func aRowSaysAllThatCounts() throws {
    let rows = report()
    #expect(
      rows["eth0"]?.finding
        == .yes(
          "mlx5_core, Ethernet, up, MTU 9000, 16 queues, XDP: native redirect zero-copy, port of bond0, "
            + "covered by bond0"))
    #expect(
      rows["bond0.7"]?.finding
        == .yes(
          "vlan, Ethernet, up, MTU 9000, on bond0, covered by bond0, default route, global address, "
            + "--discover defaultRoute takes it"))
    #expect(rows["eth1"]?.finding.answer.contains("down") == true)
    #expect(rows["wg0"]?.finding.answer.contains("no link header") == true)
    #expect(rows["ib0"]?.finding.isNo == true, "InfiniBand's header is not known")
  }

  @Test func thoseAskedForAreShown() {
    #expect(Set(report(InterfaceSelection(names: ["eth*"])).keys) == ["eth0", "eth1"])
    #expect(Set(report(InterfaceSelection(discovery: .globalAddress)).keys) == ["bond0", "wg0"])
    #expect(report(InterfaceSelection(names: ["nosuch"])).isEmpty)
  }

  @Test func cardsAreNotBoundTo() {
    let attempts = InterfaceReport(InterfaceSelection(), host, facts).xdpAttempts
    #expect(attempts.map(\.what) == ["AF_XDP on eth0", "AF_XDP on eth1", "AF_XDP on ib0"])
    #expect(attempts.allSatisfy { $0.finding.verdict == .untried })
    #expect(attempts[0].finding.answer.contains("native redirect zero-copy"))
    #expect(attempts[1].finding.need == "Linux 6.3 to be told")
  }
}
