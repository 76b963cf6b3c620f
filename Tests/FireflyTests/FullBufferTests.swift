import Flow
import Glibc
import Linux
import Synchronization
import Testing

@testable import Firefly

/// Destinations whose kernel buffer is full. On loopback UDP's never is, so a socket pair stands in: its
/// buffer is its peer's queue, which nobody reads.
struct FullBufferTests {
  /// The peers of the sockets that were opened.
  final class Peers: Sendable {
    private let descriptors = Mutex<[Int32]>([])

    func open() throws(SystemError) -> UDPSocket {
      var pair: [Int32] = [-1, -1]
      let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue)
      try system("socketpair") { socketpair(AF_UNIX, type, 0, &pair) }
      descriptors.withLock { $0.append(pair[1]) }
      return UDPSocket(owning: Descriptor(owning: pair[0]))
    }

    /// Empties all queues and returns how many datagrams they had.
    func drain() -> Int {
      var count = 0
      for descriptor in descriptors.withLock({ $0 }) {
        var bytes = [UInt8](repeating: 0, count: 2048)
        while recv(descriptor, &bytes, bytes.count, 0) > 0 { count += 1 }
      }
      return count
    }

    deinit {
      for descriptor in descriptors.withLock({ $0 }) { close(descriptor) }
    }
  }

  /// Only the address 127.0.0.2 is a socket that fills up.
  private static func emitter(_ collectors: [Collector], _ peers: Peers) throws -> Emitter {
    let environment = Emitter.Environment(open: { (address) throws(SystemError) in
      if address.address == Address(ipv4: 0x7f00_0002) { return try peers.open() }
      return try UDPSocket(to: address)
    })
    return try Emitter(
      Emitter.Configuration(host: "h", collectors: collectors, remoteEnds: nil), EmitterTests.applications,
      environment, log: { _ in })
  }

  @Test func theOthersGetEverythingAtOnce() throws {
    let peers = Peers()
    let live = try Receiver()
    let emitter = try Self.emitter(
      [Collector(host: "127.0.0.2"), Collector(host: "127.0.0.1", port: live.port)], peers)
    var received: [Int] = []
    var time = Duration.zero
    for _ in 0..<100 {
      let flows = EmitterTests.flows(20)
      time += ContinuousClock().measure { emitter.send(flows, at: now) }
      received += EmitterTests.ports(live.receive(count: 20))
    }
    #expect(received == (0..<2000).map { $0 % 20 + 1 })
    // Waiting 5 ms each time would take longer.
    #expect(time < .milliseconds(400))
    let full = emitter.statistics.collectors[0].destination
    #expect(full.dropped > 0)
    #expect(full.sent + full.dropped == 2000)
    #expect(full.lastError?.contains("temporarily unavailable") == true)
    #expect(UInt64(peers.drain()) == full.sent)
  }

  @Test func theOnlyDestinationIsWaitedFor() throws {
    let peers = Peers()
    let emitter = try Self.emitter([Collector(host: "127.0.0.2")], peers)
    emitter.send(EmitterTests.flows(2000), at: now)
    let dropped = emitter.statistics.collectors[0].destination.dropped
    #expect(dropped > 0)
    let time = ContinuousClock().measure { emitter.send(EmitterTests.flows(1), at: now) }
    #expect(time >= .milliseconds(5))
    #expect(emitter.statistics.collectors[0].destination.dropped == dropped + 1)
    #expect(peers.drain() == 2000 - Int(dropped))
    emitter.send(EmitterTests.flows(5), at: now)
    #expect(peers.drain() == 5)
    #expect(emitter.statistics.collectors[0].destination.dropped == dropped + 1)
  }
}
