import Testing

@testable import Flow

private let here = Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094)
private let there = Address(high: 0x2001_0db8 << 32, low: 2)
private let tag = SciTag(packed: 206)

private func key(_ port: UInt16 = 40000, _ transport: TransportProtocol = .tcp) -> FlowKey {
  FlowKey(local: here, remote: Endpoint(there, port), transport: transport)
}

private func moment(_ second: Int64) -> Moment {
  Moment(
    wall: WallClockTime(microseconds: 1_700_000_000_000_000 + second * 1_000_000),
    monotonic: MonotonicTime(nanoseconds: UInt64(second + 100) * 1_000_000_000))
}

private struct Bench: ~Copyable {
  var table = FlowTable(policy: .label(.kernel), seed: 7)
  var batch = ChangeBatch()

  @discardableResult
  mutating func apply(
    _ state: FlowEvent.State, _ key: FlowKey = key(), at second: Int64 = 0, start: WallClockTime? = nil
  ) -> FlowTable.Outcome {
    batch.removeAll()
    return table.apply(
      FlowEvent(state, AnnouncedFlow(key, .outbound), tag, from: .pipe, startTime: start), at: moment(second),
      localAddresses: [here.address], into: &batch)
  }

  mutating func dump(_ number: UInt32, _ keys: [FlowKey], at second: Int64) -> ([FlowKey], Moment?) {
    for key in keys {
      table.note(SocketBytes(sent: 1, received: 2), ofSocket: key, dump: number, at: moment(second))
    }
    var missing: [FlowKey] = []
    let before = table.finishDump(number, began: moment(second)) { missing.append($0) }
    return (missing, before)
  }
}

@Suite struct FlowTableSocketTests {
  @Test func endsWithItsSocketWhoeverHoldsIt() throws {
    var bench = Bench()
    bench.apply(.start)
    bench.batch.removeAll()
    let bytes = SocketBytes(sent: 5, received: 6)
    let ended = bench.table.endWithSocket(
      key(), bytes, report: nil, at: moment(7).wall, now: moment(8), into: &bench.batch)
    let end = try #require(bench.batch.announcements.first)
    #expect(
      ended && end.state == .end && end.end == moment(7).wall && end.moved == bytes && !end.mayHaveSocket)
    #expect(bench.batch.changes.map(\.action) == [.unmark])
    #expect(bench.table.count == 0 && bench.table.counters.endedWithSocket == 1)
    #expect(
      !bench.table.endWithSocket(
        key(), bytes, report: nil, at: moment(7).wall, now: moment(8), into: &bench.batch))
  }

  /// A source that tells of the end later, with the start, must not have the flow end twice.
  @Test func aLateEndIsNoSecondOne() {
    var bench = Bench()
    bench.apply(.start)
    bench.table.endWithSocket(
      key(), nil, report: nil, at: moment(7).wall, now: moment(7), into: &bench.batch)
    #expect(bench.apply(.end, at: 9, start: moment(0).wall) == .unknownEnd)
    #expect(bench.batch.announcements.isEmpty)
    // Once told of; another flow is another matter, and so is one that came much later.
    #expect(bench.apply(.end, at: 10, start: moment(0).wall) == .unknownEnd)
    #expect(bench.batch.announcements.count == 1)
    bench.apply(.start)
    bench.table.endWithSocket(
      key(), nil, report: nil, at: moment(7).wall, now: moment(7), into: &bench.batch)
    bench.apply(.end, at: 70, start: moment(0).wall)
    #expect(bench.batch.announcements.count == 1)
  }

  /// Silence is no end where the socket is there; where it is not any more, it is.
  @Test(arguments: [false, true]) func aFlowWithALiveSocketDoesNotAge(counted: Bool) {
    var bench = Bench()
    bench.apply(.start)
    bench.apply(.start, key(40001))
    let day: Int64 = 86_400
    for key in [key(), key(40001)] where counted {
      bench.table.note(Usage(packets: 1, bytes: 100), of: key, at: moment(1))
    }
    _ = bench.dump(1, [key(), key(40001)], at: 2)
    _ = bench.dump(2, [key()], at: 3)
    bench.batch.removeAll()
    bench.table.age(at: moment(2 * day), into: &bench.batch)
    #expect(bench.batch.announcements.map(\.key) == [key(40001)])
    // A dump that goes on has it before it is complete.
    bench.table.note(nil, ofSocket: key(), dump: 3, at: moment(2 * day))
    bench.table.age(at: moment(2 * day), into: &bench.batch)
    #expect(bench.table.count == 1)
    _ = bench.dump(4, [], at: 2 * day + 1)
    bench.table.age(at: moment(4 * day), into: &bench.batch)
    #expect(bench.table.count == 0)
  }

  @Test func whatADumpMissesThatAnotherHad() {
    var bench = Bench()
    for port in [1, 2, 3] as [UInt16] { bench.apply(.start, key(port)) }
    bench.apply(.start, key(4, .udp))
    #expect(bench.dump(1, [key(1), key(2), key(99)], at: 10) == ([], nil))
    #expect(bench.dump(2, [key(1)], at: 20) == ([key(2)], moment(10)))
    // It was not ended, so it is named again; the one that never had a socket never is.
    #expect(bench.dump(3, [], at: 30).0.sorted { $0.remote.port < $1.remote.port } == [key(1), key(2)])
    #expect(bench.table.flow(key(1))?.moved == SocketBytes(sent: 1, received: 2))
    #expect(bench.table.flow(key(3))?.moved == nil)
  }

  /// Whether the kernel has to be asked: not for flows that two dumps did not have.
  @Test func whoMayHaveASocket() {
    var bench = Bench()
    bench.apply(.start, key(1))
    bench.apply(.start, key(2))
    bench.apply(.start, key(3, .udp))
    for dump in 1...2 as ClosedRange<UInt32> { _ = bench.dump(dump, [key(1)], at: Int64(dump)) }
    bench.apply(.start, key(4))
    bench.batch.removeAll()
    bench.table.endAll(at: moment(5), into: &bench.batch)
    let asked = bench.batch.announcements.filter(\.mayHaveSocket).map(\.key.remote.port)
    #expect(asked.sorted() == [1, 4])
  }

  @Test func bytesThatMoveAreASignOfLife() {
    var bench = Bench()
    bench.apply(.start)
    for (second, sent) in [(10, 1), (20, 1), (30, 2)] as [(Int64, UInt64)] {
      bench.table.note(SocketBytes(sent: sent, received: 0), ofSocket: key(), at: moment(second))
    }
    #expect(bench.table.lastSeen(key()) == moment(30).monotonic)
    bench.table.note(SocketBytes(sent: 2, received: 0), ofSocket: key(), at: moment(40))
    bench.table.note(nil, ofSocket: key(), at: moment(50))
    #expect(bench.table.lastSeen(key()) == moment(30).monotonic)
  }

  @Test func everyFlowHasItsTurn() {
    var bench = Bench()
    for port in 1...100 as ClosedRange<UInt16> { bench.apply(.start, key(port)) }
    bench.batch.removeAll()
    for _ in 0..<10 { bench.table.announceOngoing(30, into: &bench.batch) }
    let ports = bench.batch.announcements.map(\.key.remote.port)
    #expect(ports.count == 300 && bench.batch.announcements.allSatisfy { $0.state == .ongoing })
    #expect(Dictionary(grouping: ports) { $0 }.values.allSatisfy { $0.count == 3 })
    // No flow twice at once, however many are asked for; none where there is none.
    bench.batch.removeAll()
    bench.table.announceOngoing(1000, into: &bench.batch)
    #expect(bench.batch.announcements.count == 100)
    bench.table.endAll(at: moment(1), into: &bench.batch)
    bench.batch.removeAll()
    bench.table.announceOngoing(1, into: &bench.batch)
    #expect(bench.batch.isEmpty)
  }

  @Test func aFlowStaysSmall() {
    // The table's index takes up to 22 bytes more, and 250 bytes a flow are all there are.
    #expect(MemoryLayout<Flow>.stride <= 144, "\(MemoryLayout<Flow>.stride)")
  }
}
