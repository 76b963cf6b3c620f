import Linux
import Testing

@testable import Marker

private func interface(
  _ index: UInt32, _ name: String, _ kind: String = "", master: UInt32 = 0, lower: UInt32 = 0
)
  -> Interface
{
  Interface(index: index, name: name, hardwareType: 1, kind: kind, master: master, lower: lower)
}

/// lo, two ports of a bond with a VLAN on it, a NIC with a VLAN, a bridge with a port, a veth whose peer is index 7.
private let host = [
  interface(1, "lo"), interface(2, "eth0", master: 4), interface(3, "eth1", master: 4),
  interface(4, "bond0", "bond"),
  interface(5, "bond0.100", "vlan", lower: 4), interface(6, "ens3"),
  interface(7, "ens3.200", "vlan", lower: 6),
  interface(8, "br0", "bridge"), interface(9, "eth9", master: 8), interface(10, "veth0", "veth", lower: 7),
]

@Suite struct InterfaceSelectionTests {
  private func selected(_ names: [String], _ discovery: InterfaceSelection.Discovery? = nil) -> [String] {
    let facts = InterfaceSelection.Facts(onDefaultRoute: [4], withGlobalAddress: [4, 5, 6])
    return InterfaceSelection(names: names, discovery: discovery).select(among: host, facts).selected.map(
      \.name)
  }

  @Test(
    arguments: [
      (["ens3"], ["ens3"]), (["ens3", "nope"], ["ens3"]), (["ens*"], ["ens3"]), (["ens3.200"], ["ens3.200"]),
      (["ens3", "ens3.200"], ["ens3"]), (["eth0"], ["eth0"]), (["eth*"], ["eth0", "eth1", "eth9"]),
      (["eth*", "bond0"], ["bond0", "eth9"]), (["*"], ["lo", "bond0", "ens3", "br0", "eth9", "veth0"]),
      (["bond0", "bond0.100"], ["bond0"]), (["br0", "eth9"], ["br0", "eth9"]),
      (["veth0", "ens3.200"], ["ens3.200", "veth0"]),
      (["eth?"], ["eth0", "eth1", "eth9"]), ([], []),
    ] as [([String], [String])])
  func byName(names: [String], want: [String]) { #expect(selected(names) == want) }

  @Test func discovered() {
    #expect(selected([], .defaultRoute) == ["bond0"])
    #expect(selected([], .globalAddress) == ["bond0", "ens3"])
    #expect(selected(["lo"], .defaultRoute) == ["lo", "bond0"])
  }

  @Test func whatIsLeftOutSaysWhy() {
    let result = InterfaceSelection(names: ["eth*", "bond0"]).select(among: host, InterfaceSelection.Facts())
    #expect(result.covered.map { "\($0.interface.name) \($0.by.name)" } == ["eth0 bond0", "eth1 bond0"])
  }

  @Test(arguments: [
    ("eth0", "eth0", true), ("eth0", "eth00", false), ("eth*", "eth", true), ("*", "", true),
    ("e*0", "eth0", true),
    ("e*0", "eth01", false), ("*th*", "eth0", true), ("e?h0", "eth0", true), ("e?h0", "eh0", false),
    ("**", "x", true),
    ("a*b*c", "aXbYbZc", true), ("a*b*c", "aXbYbZ", false), ("", "x", false),
  ])
  func patterns(pattern: String, name: String, want: Bool) {
    #expect(InterfaceSelection.matches(pattern, name) == want)
  }
}
