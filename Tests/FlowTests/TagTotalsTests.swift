import Testing

@testable import Flow

private let tag = SciTag(packed: 206)
private let other = SciTag(packed: 145)

private func moment(_ second: Int64) -> Moment {
  Moment(
    wall: WallClockTime(microseconds: 1_700_000_000_000_000 + second * 1_000_000),
    monotonic: MonotonicTime(nanoseconds: UInt64(second) * 1_000_000_000))
}

private func key(_ port: UInt16) -> FlowKey {
  FlowKey(
    local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), port),
    remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 1094), transport: .tcp)
}

/// A class, because what cannot be copied cannot stand in an expectation.
private final class Bench {
  var table = FlowTable(policy: .label(.kernel), seed: 7)

  /// Applies an event; where it takes a mark away, the path has counted `last` by then, and the socket moved `bytes`.
  func apply(
    _ state: FlowEvent.State, _ port: UInt16 = 1, _ tag: SciTag = tag, at second: Int64 = 0,
    last: Usage? = nil,
    bytes: SocketBytes? = nil
  ) {
    var batch = ChangeBatch()
    table.apply(
      FlowEvent(state, AnnouncedFlow(key(port), .outbound), tag, from: .pipe), at: moment(second),
      localAddresses: [key(port).local.address], into: &batch)
    for index in batch.changes.indices where batch.changes[index].action == .unmark {
      (batch.changes[index].usage, batch.changes[index].counter) = (last, .nft)
    }
    for index in batch.announcements.indices { batch.announcements[index].moved = bytes }
    table.settle(batch)
  }

  var totals: TagTotals { table.totals }

  func record(_ port: UInt16) -> FlowRecord? { table.flow(key(port))?.record }

  func rate(_ port: UInt16) -> Float? { table.flow(key(port))?.rate }

  func row(_ tag: SciTag = tag) -> TagTotals.Row? {
    table.totals.rows.first { $0.tag == tag && !$0.isIPv4 }
  }
}

@Suite struct TagTotalsTests {
  @Test func flowsThatEndLeaveTheirSums() throws {
    let bench = Bench()
    bench.apply(.start)
    bench.table.note(Usage(packets: 3, bytes: 300), of: key(1), at: moment(1), by: .nft)
    bench.table.note(Usage(packets: 5, bytes: 500), of: key(1), at: moment(2), by: .nft)
    #expect(bench.row()?[.nft] == Usage(packets: 5, bytes: 500) && bench.row()?.flows == 1)
    bench.apply(.end, at: 3, last: Usage(packets: 9, bytes: 900), bytes: SocketBytes(sent: 70, received: 7))
    var row = try #require(bench.row())
    #expect(row[.nft] == Usage(packets: 9, bytes: 900) && row[.tc] == Usage())
    #expect(row.moved == SocketBytes(sent: 70, received: 7))
    #expect(row.flows == 0 && row.started == 1 && row.ended == 1)
    // The next flow with the same addresses counts from nothing again.
    bench.apply(.start, at: 4)
    bench.table.note(Usage(packets: 2, bytes: 200), of: key(1), at: moment(5), by: .nft)
    row = try #require(bench.row())
    #expect(row[.nft] == Usage(packets: 11, bytes: 1100) && row.flows == 1)
  }

  @Test func whatIsCountedAgainIsAddedOnce() throws {
    let bench = Bench()
    bench.apply(.start)
    for second in 1...3 {
      bench.table.note(Usage(packets: 4, bytes: 40), of: key(1), at: moment(Int64(second)), by: .tc)
      bench.table.note(
        SocketBytes(sent: 10, received: 20), ofSocket: key(1), dump: UInt32(second), at: moment(1))
    }
    // A path that has begun anew counts from nothing.
    bench.table.note(Usage(packets: 1, bytes: 10), of: key(1), at: moment(9), by: .tc)
    let row = try #require(bench.row())
    #expect(row[.tc] == Usage(packets: 5, bytes: 50) && row.moved == SocketBytes(sent: 10, received: 20))
  }

  @Test func aTagThatChangesTakesItsFlowAlong() throws {
    let bench = Bench()
    bench.apply(.start)
    bench.table.note(Usage(packets: 4, bytes: 40), of: key(1), at: moment(1))
    bench.apply(.start, 1, other, at: 2)
    bench.table.note(Usage(packets: 6, bytes: 60), of: key(1), at: moment(3))
    #expect(bench.row()?.flows == 0 && bench.row(other)?.flows == 1)
    #expect(bench.row()?[.tc] == Usage(packets: 4, bytes: 40))
    #expect(bench.row(other)?[.tc] == Usage(packets: 2, bytes: 20))
  }

  /// What the daemon before has counted was counted there.
  @Test func inheritedFlowsCountOnFromWhatTheyHad() throws {
    let bench = Bench()
    bench.apply(.start)
    let record = try #require(bench.record(1))
    for known in [Usage(packets: 100, bytes: 1000), nil] {
      let next = Bench()
      next.table.adopt(record, counted: known, lastSeen: moment(0).monotonic)
      next.table.note(Usage(packets: 103, bytes: 1030), of: key(1), at: moment(1))
      next.table.note(Usage(packets: 105, bytes: 1050), of: key(1), at: moment(2))
      for sent in [500, 600] {
        next.table.note(
          SocketBytes(sent: UInt64(sent), received: 0), ofSocket: key(1), dump: 1, at: moment(2))
      }
      let row = try #require(next.row())
      #expect(row[.tc] == (known == nil ? Usage(packets: 2, bytes: 20) : Usage(packets: 5, bytes: 50)))
      #expect(row.moved.sent == 100 && row.flows == 1 && row.started == 0)
    }
  }

  /// Anybody may send fireflies with any tag; memory and series stay bounded, and nothing is lost of the sums.
  @Test func tagsBeyondTheLimitAreOne() throws {
    let bench = Bench()
    for number in 0..<2000 {
      bench.apply(.start, UInt16(number + 1), SciTag(packed: UInt16(65 + number)))
      bench.table.note(Usage(packets: 1, bytes: 10), of: key(UInt16(number + 1)), at: moment(1))
    }
    let totals = bench.totals
    #expect(totals.rows.count == TagTotals.rowLimit)
    #expect(totals.rows.reduce(0) { $0 + $1.flows } == 2000 && totals.rows[0].flows == 1002)
    #expect(totals.rows.reduce(0) { $0 + $1[.tc].packets } == 2000)
    for number in 0..<2000 {
      bench.apply(.end, UInt16(number + 1), SciTag(packed: UInt16(65 + number)), at: 2)
    }
    #expect(bench.totals.rows.allSatisfy { $0.flows == 0 })
    #expect(bench.totals.rows.reduce(0) { $0 + $1.ended } == 2000)
  }

  @Test func ratesAreFromReadingToReading() {
    let bench = Bench()
    bench.apply(.start)
    bench.table.beginReading(at: moment(10).monotonic)
    bench.table.note(Usage(packets: 10, bytes: 1000), of: key(1), at: moment(10))
    bench.table.beginReading(at: moment(12).monotonic)
    bench.table.note(Usage(packets: 30, bytes: 5000), of: key(1), at: moment(12))
    #expect(bench.rate(1) == 2000)
    bench.table.beginReading(at: moment(14).monotonic)
    bench.table.note(Usage(packets: 30, bytes: 5000), of: key(1), at: moment(14))
    #expect(bench.rate(1) == 0)
  }
}
