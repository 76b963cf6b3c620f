import Flow
import Testing

@Suite struct ExclusionTests {
  private func key(_ local: UInt16, _ remote: String, _ port: UInt16) throws -> FlowKey {
    FlowKey(
      local: Endpoint(try #require(Address("2001:db8::1")), local),
      remote: Endpoint(try #require(Address(remote)), port), transport: .tcp)
  }

  @Test func networksAndPortsOfEitherEnd() throws {
    let none = Exclusions.none
    #expect(try none.isEmpty && !none.contains(key(22, "::1", 22)))
    let some = Exclusions(
      networks: [try Network(text: "2001:db8:5::/48"), try Network(text: "10.0.0.0/8")],
      ports: [try #require(PortRange("22")), try #require(PortRange("9000-9010"))])
    for (local, remote, port, isIn) in [
      (22, "2001:db8::2", 5000, true), (5000, "2001:db8::2", 22, true), (5000, "2001:db8::2", 9000, true),
      (9010, "2001:db8::2", 1, true), (9011, "2001:db8::2", 8999, false), (5000, "2001:db8:5::9", 1, true),
      (5000, "2001:db8:6::9", 1, false), (5000, "10.1.2.3", 1, true), (5000, "11.1.2.3", 1, false),
    ] as [(UInt16, String, UInt16, Bool)] {
      #expect(try some.contains(key(local, remote, port)) == isIn, "\(local) \(remote) \(port)")
    }
    // The local network is nobody's wish.
    #expect(!Exclusions(networks: [try Network(text: "2001:db8::1")]).contains(try key(1, "2001:db8::2", 2)))
  }

  @Test func portRanges() {
    for text in ["1", "65535", "1-65535", "5201-5300", "7-7"] {
      #expect(PortRange(text)?.description == (text == "7-7" ? "7" : text))
    }
    for text in ["", "0", "0-5", "5-4", "65536", "1-65536", "-", "1-", "-1", "1-2-3", "+1", "ssh", " 1"] {
      #expect(PortRange(text) == nil, "\(text)")
    }
  }

  @Test(arguments: [
    ("", ""), ("5", "5"), ("5,6", "5-6"), ("6,5,9", "5-6,9"), ("1-65535,7", "1-65535"),
    ("1-10,5-20,22", "1-20,22"), ("65535,1-65534", "1-65535"), ("3-9,4-5", "3-9"),
  ])
  func merging(ranges: String, merged: String) {
    let ranges = ranges.split(separator: ",").compactMap { PortRange(String($0)) }
    #expect(PortRange.merged(ranges).map(\.description).joined(separator: ",") == merged)
  }
}
