import Flow
import Testing

@testable import XDP

@Suite struct ScopeExclusionsTests {
  private func words(_ remote: Address, _ local: UInt16 = 1, _ port: UInt16 = 2) -> FlowWords {
    FlowWords(
      FlowKey(
        local: Endpoint(Address(ipv4: 0xc000_0201), local), remote: Endpoint(remote, port), transport: .udp))
  }

  /// Networks at random that hold one another, begin alike, and stand alone; the list itself keeps the books.
  @Test(arguments: [1, 2, 3] as [UInt64]) func networks(seed: UInt64) throws {
    var random = SplitMix(seed)
    for _ in 0..<200 {
      let networks = try (0..<random.next(below: 12)).map { _ in
        if random.next(below: 2) == 0 {
          let length = random.next(below: 33)
          let bits = UInt32(truncatingIfNeeded: UInt64(random.next(below: 8)) << 29)
          return try Network(
            Address(ipv4: bits & UInt32(truncatingIfNeeded: UInt64.max << (32 - length))), length: length)
        }
        let length = random.next(below: 129)
        let high = UInt64(random.next(below: 4)) << 62 & (UInt64.max << max(0, 64 - length))
        return try Network(
          Address(high: high, low: UInt64(random.next(below: 2)) & (UInt64.max << (128 - max(64, length)))),
          length: length)
      }
      let exclusions = ScopeExclusions(Exclusions(networks: networks))
      #expect(exclusions.isEmpty == networks.isEmpty)
      for _ in 0..<50 {
        let isIPv4 = random.next(below: 2) == 0
        let address =
          isIPv4
          ? Address(ipv4: UInt32(truncatingIfNeeded: random.next()))
          : Address(high: random.next(), low: UInt64(random.next(below: 3)))
        #expect(
          exclusions.contains(networkOf: words(address), isIPv6: !isIPv4)
            == networks.contains { $0.contains(address) }, "\(networks) \(address)")
      }
    }
  }

  @Test func ports() throws {
    let ranges = [try #require(PortRange("22")), try #require(PortRange("9000-9010"))]
    let exclusions = ScopeExclusions(Exclusions(ports: ranges))
    let remote = Address(ipv4: 0xc000_0202)
    for (local, port, isLeft) in [
      (22, 5, true), (5, 22, true), (9000, 5, true), (9010, 5, true), (9011, 8999, false), (0, 0, false),
    ] as [(UInt16, UInt16, Bool)] {
      #expect(exclusions.contains(portsOf: words(remote, local, port)) == isLeft)
      #expect(!exclusions.contains(networkOf: words(remote, local, port), isIPv6: false))
    }
  }

  /// The memory that AF_XDP's frames take is bounded, however many queues a card has.
  @Test(arguments: [1, 4, 8, 9, 16, 64, 256]) func framesOfManyQueues(queues: Int) {
    let entries = Int(XDPEngine.entries(queues: queues))
    #expect(entries.nonzeroBitCount == 1 && entries >= 16)
    #expect(queues * 2 * entries * FrameMemory.frameSize <= 128 << 20)
    #expect(queues > 8 || entries == 2048)
  }
}
