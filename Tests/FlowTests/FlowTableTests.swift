import Testing

@testable import Flow

private let here = Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094)
private let there = Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 40000)
private let outbound = AnnouncedFlow(source: here, destination: there, transport: .tcp)
private let inbound = AnnouncedFlow(source: there, destination: here, transport: .tcp)
private let key = FlowKey(local: here, remote: there, transport: .tcp)
private let tag = SciTag(packed: 206)

private func moment(_ second: Int64) -> Moment {
  Moment(
    wall: WallClockTime(microseconds: 1_700_000_000_000_000 + second * 1_000_000),
    monotonic: MonotonicTime(nanoseconds: UInt64(second) * 1_000_000_000))
}

/// A table with the batch that a writer would keep.
private struct Bench: ~Copyable {
  var table: FlowTable
  var batch = ChangeBatch()

  init(limits: FlowTable.Limits = FlowTable.Limits()) {
    table = FlowTable(policy: .label(.kernel), limits: limits, seed: 7)
  }

  @discardableResult
  mutating func apply(
    _ state: FlowEvent.State, _ flow: AnnouncedFlow = outbound, _ tag: SciTag = tag,
    from origin: Origin = .pipe,
    at second: Int64 = 0, startTime: WallClockTime? = nil,
    local: Set<Address> = [here.address]
  ) -> FlowTable.Outcome {
    batch.removeAll()
    return table.apply(
      FlowEvent(state, flow, tag, from: origin, startTime: startTime), at: moment(second),
      localAddresses: local, into: &batch)
  }
}

@Suite struct FlowTableTests {
  @Test func startMarksAndAnnounces() throws {
    var bench = Bench()
    #expect(bench.apply(.start) == .started)
    let change = try #require(bench.batch.changes.first)
    #expect(change.action == .mark && change.key == key)
    #expect(change.mark.label?.label.sciTag == tag)
    let announcement = try #require(bench.batch.announcements.first)
    #expect(
      announcement.state == .start && announcement.flow == outbound && announcement.start == moment(0).wall)
  }

  @Test func localEndMayBeTheDestination() throws {
    var bench = Bench()
    bench.apply(.start, inbound)
    #expect(bench.batch.changes.first?.key == key)
    #expect(bench.batch.announcements.first?.flow == inbound)
    // Fireflies keep the order of the start, whatever order the end comes in.
    #expect(bench.apply(.end, outbound) == .ended)
    #expect(bench.batch.announcements.first?.flow == inbound)
  }

  @Test func secondStartRefreshes() {
    var bench = Bench()
    bench.apply(.start)
    #expect(bench.apply(.start, at: 5) == .refreshed)
    #expect(bench.batch.isEmpty)
    #expect(bench.table.flow(key)?.start == moment(0).wall)
  }

  @Test func changedTagReplacesTheMarkAndKeepsTheFlow() throws {
    var bench = Bench()
    bench.apply(.start)
    bench.apply(.start, outbound, SciTag(packed: 144), at: 5)
    let change = try #require(bench.batch.changes.first)
    #expect(change.action == .remark && change.mark.label?.label.sciTag.packed == 144)
    #expect(bench.batch.announcements.isEmpty)
    #expect(bench.table.flow(key)?.start == moment(0).wall)
    // To a tag without a label, and back.
    bench.apply(.start, outbound, SciTag(packed: 512 << 6 | 1), at: 6)
    #expect(bench.batch.changes.first?.action == .unmark)
    bench.apply(.start, at: 7)
    #expect(bench.batch.changes.first?.action == .mark)
  }

  @Test func twoHoldersEndOnce() {
    var bench = Bench()
    bench.apply(.start, from: .pipe)
    bench.apply(.start, from: .api)
    #expect(bench.apply(.end, from: .pipe) == .released)
    #expect(bench.batch.isEmpty)
    #expect(bench.apply(.end, from: .api, at: 9) == .ended)
    #expect(bench.batch.announcements.first?.end == moment(9).wall)
    #expect(bench.table.count == 0)
  }

  @Test func endWithoutStart() {
    var bench = Bench()
    #expect(bench.apply(.end) == .unknownEnd)
    #expect(bench.batch.isEmpty)
    #expect(bench.apply(.end, at: 9, startTime: moment(2).wall) == .unknownEnd)
    #expect(bench.batch.changes.isEmpty)
    #expect(bench.batch.announcements.first?.start == moment(2).wall)
    #expect(bench.table.counters.unknownEnds == 2)
  }

  @Test func aFullTableRefusesNewFlowsAndKeepsTheOld() {
    var bench = Bench(limits: FlowTable.Limits(maxFlows: 1))
    bench.apply(.start)
    let other = AnnouncedFlow(source: here, destination: Endpoint(there.address, 40001), transport: .tcp)
    #expect(bench.apply(.start, other) == .refusedFull)
    #expect(bench.batch.isEmpty)
    #expect(bench.apply(.start) == .refreshed)
    bench.apply(.end)
    #expect(bench.apply(.start, other) == .started)
    #expect(bench.table.counters.refusedFull == 1)
  }

  @Test(arguments: [0, 512 << 6 | 1] as [UInt16])
  func tagsWithoutLabelAreAnnouncedOnly(packed: UInt16) {
    var bench = Bench()
    #expect(bench.apply(.start, outbound, SciTag(packed: packed)) == .started)
    #expect(bench.batch.changes.isEmpty && bench.batch.announcements.count == 1)
    #expect(bench.table.counters.refusedMarks == 1)
    bench.apply(.end, outbound, SciTag(packed: packed))
    #expect(bench.batch.changes.isEmpty && bench.batch.announcements.count == 1)
  }

  @Test func silentFlowsEndWhenTheyWereLastSeen() {
    var bench = Bench(limits: FlowTable.Limits(idleTimeout: 60_000_000, uncountedTimeout: 600_000_000))
    bench.apply(.start)
    bench.table.note(Usage(packets: 3, bytes: 300), of: key, at: moment(10))
    bench.table.note(Usage(packets: 3, bytes: 300), of: key, at: moment(60))
    bench.batch.removeAll()
    bench.table.age(at: moment(69), into: &bench.batch)
    #expect(bench.batch.isEmpty)
    bench.table.age(at: moment(70), into: &bench.batch)
    #expect(bench.batch.changes.first?.action == .unmark)
    #expect(bench.batch.announcements.first?.end == moment(10).wall)
    #expect(bench.batch.announcements.first?.usage == Usage(packets: 3, bytes: 300))
    #expect(bench.table.count == 0 && bench.table.counters.aged == 1)
  }

  @Test func aFlowThatNobodyCountsLivesLonger() {
    var bench = Bench(limits: FlowTable.Limits(idleTimeout: 60_000_000, uncountedTimeout: 600_000_000))
    bench.apply(.start)
    bench.batch.removeAll()
    bench.table.age(at: moment(599), into: &bench.batch)
    #expect(bench.table.count == 1)
    bench.table.age(at: moment(600), into: &bench.batch)
    #expect(bench.table.count == 0)
  }

  @Test func theLastCountReachesTheEnd() {
    var bench = Bench()
    bench.apply(.start)
    bench.apply(.end)
    bench.batch.changes[0].usage = Usage(packets: 2, bytes: 99)
    bench.batch.settleUsage()
    #expect(bench.batch.announcements.first?.usage?.bytes == 99)
  }

  @Test func anEndBeforeItsStartIsMovedToIt() {
    var bench = Bench()
    bench.apply(.start, at: 5)
    bench.apply(.end, at: 3)
    #expect(bench.batch.announcements.first?.end == moment(5).wall)
  }

  /// Ages go by the clock that does not jump. What fireflies tell is the wall clock's: of the start as it was read then,
  /// of an end in the past by how long ago it was.
  @Test(arguments: [-86_400, 86_400]) func theWallClockIsSet(by seconds: Int64) {
    var bench = Bench(limits: FlowTable.Limits(idleTimeout: 100_000_000))
    bench.apply(.start)
    func at(_ second: Int64) -> Moment {
      Moment(
        wall: WallClockTime(microseconds: moment(second).wall.microseconds + seconds * 1_000_000),
        monotonic: moment(second).monotonic)
    }
    bench.batch.removeAll()
    bench.table.note(Usage(packets: 1, bytes: 100), of: key, at: at(10))
    bench.table.age(at: at(90), into: &bench.batch)
    #expect(bench.table.count == 1 && bench.batch.announcements.isEmpty)
    bench.table.age(at: at(120), into: &bench.batch)
    #expect(bench.table.count == 0)
    let end = bench.batch.announcements.first
    #expect(end?.start == moment(0).wall)
    // Never before the start.
    #expect(end?.end == max(at(10).wall, moment(0).wall))
  }

  @Test func anAddressThatGoesBetweenStartAndEnd() {
    var bench = Bench()
    bench.apply(.start, inbound)
    #expect(bench.apply(.end, inbound, local: []) == .ended)
    #expect(bench.batch.changes.map(\.key) == [key] && bench.table.count == 0)
    #expect(bench.batch.announcements.first?.flow == inbound)
  }

  @Test func anAddressThatComesAfterTheStartTurnsTheFlow() {
    var bench = Bench()
    bench.apply(.start, inbound, local: [])
    #expect(bench.table.flow(key) == nil)
    #expect(bench.apply(.start, inbound, at: 5) == .refreshed)
    #expect(bench.table.count == 1)
    #expect(bench.batch.changes.map(\.action) == [.unmark, .mark] && bench.batch.changes.last?.key == key)
    #expect(bench.table.flow(key)?.start == moment(0).wall && bench.table.flow(key)?.orientation == .inbound)
    #expect(bench.apply(.end, inbound) == .ended)
    #expect(bench.batch.announcements.first?.flow == inbound)
  }

  @Test func whatWasCountedBeforeATagWithoutAMarkIsKept() {
    var bench = Bench()
    bench.apply(.start)
    bench.apply(.start, outbound, SciTag(packed: 512 << 6 | 1))
    bench.batch.changes[0].usage = Usage(packets: 10, bytes: 1000)
    bench.table.settle(bench.batch)
    #expect(bench.table.flow(key)?.usage == Usage(packets: 10, bytes: 1000))
    bench.apply(.start)
    bench.table.note(Usage(packets: 2, bytes: 200), of: key, at: moment(1))
    #expect(bench.table.flow(key)?.usage == Usage(packets: 12, bytes: 1200))
    bench.apply(.end)
    bench.batch.changes[0].usage = Usage(packets: 3, bytes: 300)
    bench.table.settle(bench.batch)
    bench.batch.settleUsage()
    #expect(bench.batch.announcements.first?.usage == Usage(packets: 13, bytes: 1300))
  }

  @Test func aRefusedMarkIsTriedAgain() {
    var bench = Bench()
    bench.apply(.start)
    bench.batch.changes[0].failure = PathFailure(.tc, code: 12)
    bench.table.settle(bench.batch)
    bench.apply(.start, at: 1)
    #expect(bench.batch.changes.map(\.action) == [.mark])
    bench.table.settle(bench.batch)
    bench.apply(.start, at: 2)
    #expect(bench.batch.isEmpty)
  }

  @Test func anotherPolicyChangesWhatIsThere() throws {
    var bench = Bench()
    bench.apply(.start)
    let label = try #require(bench.table.flow(key)?.mark?.label?.label)
    bench.batch.removeAll()
    bench.table.setPolicy(.label(.kernel), into: &bench.batch)
    #expect(bench.batch.isEmpty, "the same policy changes nothing")
    bench.table.setPolicy(.label(.flow), into: &bench.batch)
    #expect(bench.batch.changes.map(\.action) == [.remark])
    #expect(bench.batch.changes.first?.mark.label == LabelStamp(label, .flow), "its entropy stays")
    bench.batch.removeAll()
    bench.table.setPolicy(MarkPolicy(ipv6: .nothing, ipv4: .nothing), into: &bench.batch)
    #expect(bench.batch.changes.map(\.action) == [.unmark])
    bench.batch.removeAll()
    bench.table.setPolicy(
      MarkPolicy(ipv6: .codePoint(CodePointMap(), onlyIfUnset: true), ipv4: .nothing), into: &bench.batch)
    #expect(bench.batch.changes.map(\.action) == [.mark])
    #expect(bench.batch.changes.first?.mark.codePoint?.codePoint == CodePoint(15))
    #expect(bench.batch.announcements.isEmpty, "the flow goes on")
  }

  @Test func endAllEndsAll() {
    var bench = Bench()
    for port in 1...100 as ClosedRange<UInt16> {
      bench.apply(
        .start, AnnouncedFlow(source: here, destination: Endpoint(there.address, port), transport: .udp))
    }
    bench.batch.removeAll()
    bench.table.endAll(at: moment(9), into: &bench.batch)
    #expect(bench.table.count == 0)
    #expect(bench.batch.changes.count == 100 && bench.batch.announcements.count == 100)
  }
}
