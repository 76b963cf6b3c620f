import Flow
import Testing

@testable import Firefly

/// By which address a flow is named, from its start to its end.
struct PublicAddressTests {
  private let local = endpoint("10.0.0.7", 5001)
  private let remote = endpoint("198.51.100.3", 1094)

  private func time(_ seconds: Int64) -> WallClockTime { WallClockTime(microseconds: seconds * 1_000_000) }

  private func address(_ text: String) throws -> Address { try #require(Address(text)) }

  @Test func aFlowKeepsTheNameItStartedWith() throws {
    let names = PublicAddresses()
    let (first, second) = (try address("203.0.113.1"), try address("203.0.113.2"))
    #expect(names.set(first, of: local.address, since: time(10)))
    #expect(!names.set(first, of: local.address, since: time(15)), "nothing new")
    #expect(names.set(second, of: local.address, since: time(20)))
    #expect(names.set(nil, of: local.address, since: time(30)))
    for (start, name) in [(9, nil), (10, first), (19, first), (20, second), (29, second), (30, nil)]
      as [(Int64, Address?)]
    {
      #expect(names.name(of: local.address, at: time(start)) == name, "\(start)")
    }
    #expect(names.name(of: remote.address, at: time(10)) == nil)
    #expect(names.named.isEmpty)
  }

  /// A clock that is set back renames no flow that has a name.
  @Test func aClockThatIsSetBack() throws {
    let names = PublicAddresses()
    let (first, second) = (try address("203.0.113.1"), try address("203.0.113.2"))
    names.set(first, of: local.address, since: time(100))
    names.set(second, of: local.address, since: time(50))
    #expect(names.name(of: local.address, at: time(60)) == nil)
    #expect(names.name(of: local.address, at: time(100)) == second)
  }

  @Test func longHistoriesEnd() throws {
    let names = PublicAddresses()
    for number in 0..<100 as Range<UInt32> {
      names.set(Address(ipv4: 0xcb00_7100 + number), of: local.address, since: time(Int64(number)))
    }
    #expect(names.name(of: local.address, at: time(99)) == Address(ipv4: 0xcb00_7100 + 99))
    #expect(names.name(of: local.address, at: time(70)) == Address(ipv4: 0xcb00_7100 + 70))
    #expect(names.name(of: local.address, at: time(1)) == nil)
  }

  /// Out of the emitter: local ends are renamed in either order, towards public ends only; ports and remote ends stay.
  @Test func inFireflies() throws {
    let receiver = try Receiver()
    let names = PublicAddresses()
    let emitter = try Emitter(
      configuration: Emitter.Configuration(
        host: "h", collectors: [Collector(host: "127.0.0.1", port: receiver.port, format: .bare)],
        remoteEnds: nil,
        publicAddresses: names),
      applications: EmitterTests.applications)
    func ends(
      _ start: Int64, to remote: Endpoint, _ orientation: Orientation = .outbound,
      _ state: FlowEvent.State = .start
    ) throws -> String {
      let key = FlowKey(local: local, remote: remote, transport: .tcp)
      emitter.send([Announcement(state, key, orientation, tag, start: time(start))], at: now)
      let flow = try JSON(try #require(receiver.receive()))["flow-id"]
      return [flow?["src-ip"]?.string, flow?["dst-ip"]?.string].map { $0 ?? "" }.joined(separator: " ")
    }
    #expect(try ends(5, to: remote) == "10.0.0.7 198.51.100.3")
    names.set(try address("203.0.113.1"), of: local.address, since: time(10))
    #expect(
      try ends(5, to: remote, .outbound, .end) == "10.0.0.7 198.51.100.3", "as it was announced at its start")
    #expect(try ends(11, to: remote) == "203.0.113.1 198.51.100.3")
    #expect(try ends(11, to: remote, .inbound) == "198.51.100.3 203.0.113.1")
    #expect(try ends(11, to: endpoint("10.9.9.9", 1)) == "10.0.0.7 10.9.9.9", "that does not pass the NAT")
    names.set(try address("203.0.113.2"), of: local.address, since: time(20))
    #expect(try ends(11, to: remote, .outbound, .end) == "203.0.113.1 198.51.100.3")
    #expect(try ends(21, to: remote) == "203.0.113.2 198.51.100.3")
  }
}
