import Flow
import Glibc
import Linux
import Synchronization
import Testing

@testable import Firefly

/// Names that resolve late, not at all, or to another address than before.
struct CollectorLinkTests {
  /// A name server of the test's own.
  final class Names: Sendable {
    private let answer: Mutex<Result<[SocketAddress], LookupFailure>>
    let questions = Atomic(0)

    init(_ answer: Result<[SocketAddress], LookupFailure>) { self.answer = Mutex(answer) }

    func set(_ new: Result<[SocketAddress], LookupFailure>) { answer.withLock { $0 = new } }

    func lookup(_ collector: Collector) throws(LookupFailure) -> [SocketAddress] {
      questions.add(1, ordering: .relaxed)
      return try answer.withLock { $0 }.get()
    }
  }

  /// Everything a thousand times as fast as in life.
  static let quick = Emitter.Delays(
    hold: 60_000, refresh: 20, firstRetry: 2, lastRetry: 10, renewal: 10, recovery: 50)

  static func collector() throws -> Collector { try Collector(host: "collector.test") }

  static func emitter(
    _ names: Names, delays: Emitter.Delays = quick, events: Events = Events()
  ) throws -> Emitter {
    try Emitter(
      Emitter.Configuration(host: "h", collectors: [collector()], remoteEnds: nil),
      EmitterTests.applications,
      Emitter.Environment(
        delays: delays, lookup: { (collector) throws(LookupFailure) in try names.lookup(collector) }),
      log: { events.append($0) })
  }

  final class Events: Sendable {
    private let all = Mutex<[Emitter.Event]>([])
    func append(_ event: Emitter.Event) { all.withLock { $0.append(event) } }
    var list: [Emitter.Event] { all.withLock { $0 } }
  }

  static func address(_ receiver: Receiver) -> SocketAddress {
    SocketAddress(address: Address(ipv4: 0x7f00_0001), port: receiver.port)
  }

  /// Waits for what other threads bring about.
  static func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<2000 {
      if condition() { return true }
      usleep(1000)
    }
    return false
  }

  @Test func heldUntilTheNameHasAnAddress() throws {
    let receiver = try Receiver()
    let names = Names(.failure(LookupFailure(reason: "no name server")))
    let events = Events()
    let emitter = try Self.emitter(names, events: events)
    emitter.send(EmitterTests.flows(1100), at: now)
    #expect(Self.eventually { names.questions.load(ordering: .relaxed) > 2 })
    var destination = try #require(emitter.statistics.collectors.first).destination
    #expect(destination.held == 1024 && destination.dropped == 76 && destination.sent == 0)
    #expect(destination.lastError == "no name server")

    // No further `send` is needed.
    names.set(.success([Self.address(receiver)]))
    #expect(EmitterTests.ports(receiver.receive(count: 1024)) == Array(1...1024))
    #expect(Self.eventually { emitter.statistics.collectors[0].destination.held == 0 })
    emitter.send(EmitterTests.flows(3), at: now)
    #expect(EmitterTests.ports(receiver.receive(count: 3)) == [1, 2, 3])
    destination = emitter.statistics.collectors[0].destination
    #expect(destination.sent == 1027 && destination.dropped == 76)
    let collector = try Self.collector()
    #expect(
      events.list == [
        .collectorUnresolvable(collector, reason: "no name server"), .collectorRecovered(collector),
      ])
  }

  @Test func whatComesWhileTheHeldLeaveStaysBehindThem() throws {
    let receiver = try Receiver()
    var state = CollectorState(try Self.collector(), Emitter.Environment(), at: .now())
    var encoder = FireflyEncoder(host: "h")
    var burst = Burst()
    for flow in EmitterTests.flows(6) {
      try encoder.encode(flow, application: "a", at: now)
      burst.append(encoder, .none, experiment: 2)
    }
    let messages = burst.messages(.bare)
    #expect(state.offer(messages, 3, at: .now()).isDone)
    _ = state.adopt(.success([Self.address(receiver)]), at: .now())
    #expect(state.offer(messages + 3, 3, at: .now()).isDone)
    #expect(state.held.count == 6)
    let left = state.drain(at: .now()).isLeft
    #expect(!left)
    #expect(EmitterTests.ports(receiver.receive(count: 6)) == Array(1...6))
    #expect(state.tally.sent == 6)
  }

  @Test func holdingEnds() throws {
    let names = Names(.failure(LookupFailure(reason: "unknown")))
    let emitter = try Self.emitter(names, delays: Emitter.Delays(hold: 0, firstRetry: 2, lastRetry: 2))
    usleep(2000)
    emitter.send(EmitterTests.flows(10), at: now)
    let destination = emitter.statistics.collectors[0].destination
    #expect(destination.held == 0 && destination.dropped == 10)
  }

  @Test func aNewAddressIsFollowed() throws {
    let receivers = try [Receiver(), Receiver()]
    let names = Names(.success([Self.address(receivers[0])]))
    let emitter = try Self.emitter(names)
    emitter.send(EmitterTests.flows(1), at: now)
    #expect(receivers[0].receive() != nil)
    names.set(.success([Self.address(receivers[1])]))
    #expect(
      Self.eventually {
        emitter.send(EmitterTests.flows(1), at: now)
        return receivers[1].receive(milliseconds: 1) != nil
      })
  }

  @Test func theSecondAddressIsTriedWhenTheFirstFails() throws {
    let live = try Receiver()
    let refusing = try Receiver()
    try refusing.refuse()
    let dead = SocketAddress(address: Address(ipv4: 0x7f00_0001), port: refusing.port)
    let names = Names(.success([dead, Self.address(live)]))
    let events = Events()
    var delays = Self.quick
    delays.refresh = 300_000
    let emitter = try Self.emitter(names, delays: delays, events: events)
    #expect(
      Self.eventually {
        emitter.send(EmitterTests.flows(1), at: now)
        return live.receive(milliseconds: 1) != nil
      }, "a failure asks for the name again")
    #expect(
      Self.eventually {
        emitter.send(EmitterTests.flows(1), at: now)
        return events.list.count == 2
      })
    let collector = try Self.collector()
    #expect(events.list.last == .collectorRecovered(collector))
    guard case .collectorFailed(collector, let error)? = events.list.first else {
      Issue.record("\(events.list)")
      return
    }
    #expect(error.code == ECONNREFUSED)
  }

  @Test func anUnreachableAddressIsNoReasonToStop() throws {
    let live = try Receiver()
    // A socket without SO_BROADCAST can't be connected to it: EACCES.
    let nowhere = SocketAddress(address: Address(ipv4: 0xffff_ffff), port: 9)
    let emitter = try Self.emitter(Names(.success([nowhere, Self.address(live)])))
    emitter.send(EmitterTests.flows(1), at: now)
    #expect(live.receive() != nil)
  }

  @Test func aSlowNameServerHoldsUpNeitherSendNorStop() throws {
    let emitter = try Emitter(
      Emitter.Configuration(host: "h", collectors: [Self.collector()], remoteEnds: nil),
      EmitterTests.applications,
      Emitter.Environment(lookup: { _ throws(LookupFailure) in
        sleep(1)
        return []
      }), log: { _ in })
    let time = ContinuousClock().measure {
      emitter.send(EmitterTests.flows(10), at: now)
      emitter.stop()
    }
    #expect(time < .milliseconds(500))
    #expect(emitter.statistics.collectors[0].destination.dropped == 10)
  }
}
