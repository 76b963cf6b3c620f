import Flow
import Testing

@testable import Marker

@Suite struct ReleasedSocketsTests {
  private func key(_ port: UInt16, _ transport: TransportProtocol = .tcp) -> FlowKey {
    FlowKey(
      local: Endpoint(Address(high: 1, low: 1), port), remote: Endpoint(Address(high: 1, low: 2), 2),
      transport: transport)
  }

  @Test func theyAreForgottenWithTheirSockets() {
    var released = ReleasedSockets()
    for port in 1...3 as ClosedRange<UInt16> { released.insert(key(port)) }
    released.insert(key(4, .udp))
    released.remove(key(3))
    #expect(!released.contains(key(3)) && released.contains(key(1)))
    // The first dump may have begun before; it has the first alone.
    released.note(key(1), dump: 7)
    released.finish(7, of: .tcp)
    #expect(released.contains(key(1)) && released.contains(key(2)))
    released.note(key(1), dump: 8)
    released.finish(8, of: .tcp)
    #expect(released.contains(key(1)) && !released.contains(key(2)))
    released.finish(9, of: .tcp)
    #expect(!released.contains(key(1)) && released.contains(key(4, .udp)))
  }

  @Test func onlyReleasedSocketsAreNoted() {
    var released = ReleasedSockets()
    released.note(key(1), dump: 1)
    #expect(!released.contains(key(1)))
  }
}
