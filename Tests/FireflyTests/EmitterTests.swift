import Flow
import Glibc
import Linux
import Synchronization
import Testing

@testable import Firefly

/// The emitter against real sockets on loopback.
struct EmitterTests {
  static let applications = ApplicationNames(own: "marker 1.0")

  /// Starts of flows whose source ports count up from 1, so that order and loss can be seen.
  static func flows(_ count: Int, to remote: Endpoint = ipv6Key.remote) -> ContiguousArray<Announcement> {
    let local = remote.address.isIPv4 ? ipv4Key.local : ipv6Key.local
    return ContiguousArray(
      (0..<count).map { index in
        let local = Endpoint(local.address, UInt16(index + 1))
        return Announcement(
          .start, FlowKey(local: local, remote: remote, transport: .tcp), .outbound, tag, start: started)
      })
  }

  static func emitter(
    _ collectors: [Collector], remoteEnds: Emitter.Configuration.RemoteEnds? = nil,
    log: @escaping @Sendable (Emitter.Event) -> Void = { _ in }
  ) throws -> Emitter {
    try Emitter(
      configuration: Emitter.Configuration(
        host: "se1.example.org", collectors: collectors, remoteEnds: remoteEnds),
      applications: applications, log: log)
  }

  /// The source ports of fireflies.
  static func ports(_ datagrams: [String]) -> [Int] {
    datagrams.compactMap { $0.firstMatch(of: /"src-port":(\d+)/).flatMap { Int($0.1) } }
  }

  @Test(arguments: [true, false], FireflyFormat.allCases)
  func oneFirefly(ipv4: Bool, format: FireflyFormat) throws {
    let receiver = try Receiver(ipv4: ipv4)
    let collector = try Collector(host: ipv4 ? "127.0.0.1" : "::1", port: receiver.port, format: format)
    let emitter = try Self.emitter([collector])
    let flows = Self.flows(1)
    emitter.send(flows, at: now)
    #expect(receiver.receive() == (try encode(flows[0], as: format)))
    let statistics = emitter.statistics
    #expect(statistics.collectors[0].destination == Emitter.Statistics.Destination(sent: 1))
    #expect(statistics.collectors[0].address == Address(collector.host))
    #expect(statistics.announced == Emitter.Statistics.Announced(start: 1))
    #expect(statistics.remoteEnds == Emitter.Statistics.Destination())
  }

  @Test func theFlowsApplicationIsNamed() throws {
    let receiver = try Receiver()
    let emitter = try Self.emitter([Collector(host: "127.0.0.1", port: receiver.port, format: .bare)])
    let ids = [Self.applications.id(of: "xrdcp"), .marker, Self.applications.id(of: "http-put")]
    emitter.send(
      ContiguousArray(
        ids.map { Announcement(.start, ipv6Key, .outbound, tag, application: $0, start: started) }), at: now)
    let names = try receiver.receive(count: 3).map { try JSON($0)["context"]?["application"]?.string }
    #expect(names == ["xrdcp", "marker 1.0", "http-put"])
  }

  @Test func deadAndUnknownCollectorsDelayNobody() throws {
    let live = try Receiver()
    let dead = try Receiver()
    try dead.refuse()
    let events = Mutex<[Emitter.Event]>([])
    let collectors = try [
      Collector(host: "127.0.0.1", port: dead.port), Collector(host: "nonexistent.invalid"),
      Collector(host: "127.0.0.1", port: live.port),
    ]
    let emitter = try Self.emitter(collectors) { event in events.withLock { $0.append(event) } }
    let clock = ContinuousClock()
    for _ in 0..<20 {
      let time = clock.measure { emitter.send(Self.flows(100), at: now) }
      #expect(time < .milliseconds(500))
      #expect(Self.ports(live.receive(count: 100)) == Array(1...100))
    }

    let statistics = emitter.statistics.collectors
    #expect(statistics[2].destination == Emitter.Statistics.Destination(sent: 2000))
    #expect(!statistics[2].isFailing)
    // A refusal is the answer to an earlier datagram, and loses none.
    #expect(statistics[0].destination.sent == 2000)
    #expect(statistics[0].destination.errors > 0)
    #expect(statistics[0].isFailing)
    #expect(statistics[0].destination.lastError?.contains("Connection refused") == true)
    #expect(statistics[1].destination.held == 1024)
    #expect(statistics[1].destination.dropped == 976)
    let failures = events.withLock { events in
      events.filter { if case .collectorFailed(collectors[0], _) = $0 { true } else { false } }
    }
    #expect(failures.count == 1, "told once, not per firefly")

    emitter.stop()
    #expect(emitter.statistics.collectors[1].destination.dropped == 2000)
    emitter.send(Self.flows(1), at: now)
    #expect(emitter.statistics.collectors.map(\.destination.dropped) == [1, 2001, 1])
  }

  @Test(arguments: [true, false])
  func remoteEnds(ipv4: Bool) throws {
    let receiver = try Receiver(ipv4: ipv4)
    let emitter = try Self.emitter([], remoteEnds: .init(port: receiver.port, includesPrivate: true))
    let flows = Self.flows(100, to: endpoint(ipv4 ? "127.0.0.1" : "::1", 1094))
    emitter.send(flows, at: now)
    let datagrams = receiver.receive(count: 100)
    #expect(datagrams.first == (try encode(flows[0], as: .syslog)))
    #expect(Self.ports(datagrams) == Array(1...100))
    #expect(emitter.statistics.remoteEnds == Emitter.Statistics.Destination(sent: 100))
  }

  @Test func collectorsAndBothFamiliesOfRemoteEnds() throws {
    let collector = try Receiver()
    let (ipv4, ipv6) = try Receiver.pair()
    let emitter = try Self.emitter(
      [Collector(host: "127.0.0.1", port: collector.port)],
      remoteEnds: .init(port: ipv4.port, format: .bare, includesPrivate: true))
    var mixed: ContiguousArray<Announcement> = []
    for (four, six) in zip(
      Self.flows(100, to: endpoint("127.0.0.1", 1094)), Self.flows(100, to: endpoint("::1", 1094)))
    {
      mixed += [four, six]
    }
    emitter.send(mixed, at: now)
    let four = ipv4.receive(count: 100)
    #expect(four.allSatisfy { $0.contains(#""afi":"ipv4""#) && $0.hasPrefix("{") })
    #expect(Self.ports(four) == Array(1...100))
    #expect(Self.ports(ipv6.receive(count: 100)) == Array(1...100))
    #expect(Self.ports(collector.receive(count: 200)) == (2..<202).map { $0 / 2 })
  }

  @Test func someRemoteEndsGetNone() throws {
    let emitter = try Self.emitter([], remoteEnds: .init(port: 9, includesPrivate: true))
    let addresses = ["fe80::1", "ff02::1", "::", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
    for address in addresses { emitter.send(Self.flows(1, to: endpoint(address, 1)), at: now) }
    let statistics = emitter.statistics
    #expect(statistics.skippedRemoteEnds == UInt64(addresses.count))
    #expect(statistics.remoteEnds == Emitter.Statistics.Destination())
  }

  /// Counted, and told of once.
  @Test func privateRemoteEndsGetNoneByDefault() throws {
    let receiver = try Receiver()
    let events = Mutex<[Emitter.Event]>([])
    let emitter = try Self.emitter(
      [Collector(host: "127.0.0.1", port: receiver.port)], remoteEnds: .init(port: 9)
    ) { event in events.withLock { $0.append(event) } }
    for address in ["10.1.2.3", "127.0.0.1", "fd00::1", "100.64.0.1"] {
      emitter.send(Self.flows(1, to: endpoint(address, 1)), at: now)
    }
    let statistics = emitter.statistics
    #expect(statistics.privateRemoteEnds == 4 && statistics.skippedRemoteEnds == 0)
    #expect(statistics.remoteEnds == Emitter.Statistics.Destination())
    #expect(receiver.receive(count: 4).count == 4, "collectors are told all the same")
    #expect(events.withLock { $0 } == [.privateRemoteEnd(try #require(Address("10.1.2.3")))])
  }

  /// Each collector gets its own, in bursts and one by one, in either format.
  @Test func collectorsOfSomeExperiments() throws {
    let receivers = try (0..<4).map { _ in try Receiver() }
    let emitter = try Self.emitter([
      Collector(host: "127.0.0.1", port: receivers[0].port),
      Collector(host: "127.0.0.1", port: receivers[1].port, experiments: [3, 2]),
      Collector(host: "127.0.0.1", port: receivers[2].port, format: .bare, experiments: [16]),
      Collector(host: "127.0.0.1", port: receivers[3].port, experiments: [511]),
    ])
    var flows: ContiguousArray<Announcement> = []
    for number in 1...150 as ClosedRange<UInt16> {
      let key = FlowKey(
        local: Endpoint(ipv6Key.local.address, number), remote: ipv6Key.remote, transport: .tcp)
      flows.append(
        Announcement(
          .start, key, .outbound, try SciTag(experiment: [2, 3, 16][Int(number % 3)], activity: 1),
          start: started))
    }
    emitter.send(flows, at: now)
    emitter.send([flows[0]], at: now)
    #expect(Self.ports(receivers[0].receive(count: 151)) == Array(1...150) + [1])
    let some = receivers[1].receive(count: 101)
    #expect(Self.ports(some) == (1...150).filter { $0 % 3 != 2 } + [1])
    #expect(some.allSatisfy { $0.hasPrefix("<134>") })
    let bare = receivers[2].receive(count: 50)
    #expect(Self.ports(bare) == (1...150).filter { $0 % 3 == 2 } && bare.allSatisfy { $0.hasPrefix("{") })
    #expect(receivers[3].receive(milliseconds: 50) == nil)
    #expect(emitter.statistics.collectors.map(\.destination.sent) == [151, 101, 50, 0])
  }

  @Test func relayedFirefliesOfSomeExperiments() throws {
    let receivers = try [Receiver(), Receiver()]
    let emitter = try Self.emitter([
      Collector(host: "127.0.0.1", port: receivers[0].port, format: .bare),
      Collector(host: "127.0.0.1", port: receivers[1].port, format: .bare, experiments: [2]),
    ])
    var batch = RelayBatch()
    for number in 0..<100 as Range<UInt16> {
      let json = Array("{\"n\":\(number)}".utf8)
      batch.append(
        json.span, json: 0..<json.count, from: endpoint("192.0.2.9", 5), experiment: number % 2 == 0 ? 2 : 3)
    }
    emitter.relay(batch, at: now)
    #expect(receivers[0].receive(count: 100) == (0..<100).map { "{\"n\":\($0)}" })
    #expect(receivers[1].receive(count: 50) == (0..<50).map { "{\"n\":\($0 * 2)}" })
    #expect(receivers[1].receive(milliseconds: 20) == nil)
  }

  @Test func whatNoFireflyCanTellIsCounted() throws {
    let receiver = try Receiver()
    let emitter = try Self.emitter([Collector(host: "127.0.0.1", port: receiver.port)])
    let sctp = FlowKey(local: ipv6Key.local, remote: ipv6Key.remote, transport: .sctp)
    emitter.send(
      [
        Announcement(.start, sctp, .outbound, tag, start: started),
        Announcement(.start, ipv6Key, .outbound, tag, start: started),
        Announcement(.ongoing, ipv6Key, .outbound, tag, start: started),
        Announcement(.end, ipv6Key, .outbound, tag, start: started, end: ended),
      ], at: now)
    #expect(receiver.receive(count: 3).count == 3)
    #expect(
      emitter.statistics.announced
        == Emitter.Statistics.Announced(start: 1, ongoing: 1, end: 1, inexpressible: 1))
  }

  @Test func burstOf20000() throws {
    let receiver = try Receiver()
    let emitter = try Self.emitter([Collector(host: "127.0.0.1", port: receiver.port, format: .bare)])
    let count = min(20_000, receiver.bufferSize / 2048)
    emitter.send(Self.flows(count), at: now)
    #expect(emitter.statistics.collectors[0].destination.sent == UInt64(count))
    var expected = 0
    while let datagram = receiver.receive(milliseconds: 100) {
      expected += 1
      guard datagram.contains("\"src-port\":\(expected),") else { break }
    }
    #expect(expected == count)
  }
}
