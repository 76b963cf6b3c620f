import Testing

@testable import Flow

/// What is kept of flows, and what becomes of it.
private final class Notebook: FlowMemory {
  var records: [FlowKey: FlowRecord] = [:]
  var writes = 0
  var lastLife = MonotonicTime(nanoseconds: 0)
  var hasLostAll: Bool { false }

  func recall(_ body: (FlowRecord) -> Void) throws(MemoryError) -> Bool {
    for record in records.values { body(record) }
    return false
  }
  func keep(_ record: FlowRecord) {
    records[record.key] = record
    writes += 1
  }
  func drop(_ key: FlowKey) { records[key] = nil }
  func settle(at now: MonotonicTime) throws(MemoryError) {}
  func makeRoom(for maxFlows: Int) {}
  func forgetAll() { records = [:] }
}

private let local = Address(ipv4: 0xc000_0201)
private let moment = Moment(
  wall: WallClockTime(microseconds: 1_000_000), monotonic: MonotonicTime(nanoseconds: 5_000_000_000))

private func flow(_ port: UInt16) -> AnnouncedFlow {
  AnnouncedFlow(
    source: Endpoint(Address(ipv4: 0xc000_0202), 1094), destination: Endpoint(local, port), transport: .tcp)
}

private func key(_ port: UInt16) -> FlowKey { flow(port).normalised(localAddresses: [local]).key }

/// A table and what it changes, which tests ask by methods: it cannot be copied.
private final class Desk {
  private var table: FlowTable
  private var batch = ChangeBatch()

  init(keepsRecords: Bool = true, maxFlows: Int = 10, _ policy: MarkPolicy? = nil) {
    let marking = MarkPolicy(ipv6: .label(.kernel), ipv4: .codePoint(CodePointMap(), onlyIfUnset: true))
    table = FlowTable(
      policy: policy ?? marking, limits: FlowTable.Limits(maxFlows: maxFlows), seed: 7,
      keepsRecords: keepsRecords)
  }

  func apply(_ state: FlowEvent.State, _ port: UInt16, _ tag: UInt16 = 129, from origin: Origin = .pipe) {
    table.apply(
      FlowEvent(state, flow(port), SciTag(packed: tag), from: origin), at: moment, localAddresses: [local],
      into: &batch)
  }

  func see(_ port: UInt16, in dump: UInt32) { table.note(nil, ofSocket: key(port), dump: dump, at: moment) }
  func remember(in memory: Notebook) { table.remember(in: memory) }
  func adopt(_ record: FlowRecord, _ usage: Usage? = nil, lastSeen: MonotonicTime = moment.monotonic) -> Bool
  {
    table.adopt(record, counted: usage, lastSeen: lastSeen)
  }
  func finishDump(_ dump: UInt32) -> [FlowKey] {
    var missing: [FlowKey] = []
    _ = table.finishDump(dump, began: moment) { missing.append($0) }
    return missing
  }
  func held(_ key: FlowKey) -> Flow? { table.flow(key) }
  var hasChanges: Bool { table.hasChangedRecords }
  var count: Int { table.count }
  var announcements: [Announcement] { Array(batch.announcements) }
}

@Suite struct FlowTableMemoryTests {
  @Test func theMemoryFollowsTheTable() throws {
    let (memory, desk) = (Notebook(), Desk())
    desk.apply(.start, 1)
    desk.apply(.start, 2)
    #expect(desk.hasChanges)
    desk.remember(in: memory)
    #expect(!desk.hasChanges && memory.records.count == 2)
    let first = try #require(memory.records[key(1)])
    #expect(first.orientation == .inbound && first.tag == SciTag(packed: 129) && first.start == moment.wall)
    #expect(!first.hasSocket && first.holders == Holders(.pipe))

    // A sign of life changes nothing that is kept.
    desk.apply(.ongoing, 1)
    #expect(!desk.hasChanges)
    // Another tag, another holder, a socket that was seen.
    desk.apply(.start, 1, 206, from: .api)
    desk.see(1, in: 3)
    desk.remember(in: memory)
    let second = try #require(memory.records[key(1)])
    #expect(second.tag == SciTag(packed: 206) && second.hasSocket)
    #expect(second.holders == [Holders(.pipe), Holders(.api)])
    desk.see(1, in: 4)
    #expect(!desk.hasChanges)

    desk.apply(.end, 1, 206, from: .api)
    desk.remember(in: memory)
    #expect(memory.records[key(1)]?.holders == Holders(.pipe))
    desk.apply(.end, 1, 206)
    desk.remember(in: memory)
    #expect(memory.records[key(1)] == nil && memory.records.count == 1)
  }

  @Test func aTableThatKeepsNothingNotesNothing() {
    let desk = Desk(keepsRecords: false)
    desk.apply(.start, 1)
    #expect(!desk.hasChanges)
  }

  @Test func anAdoptedFlowGoesOnInSilence() throws {
    let (memory, old, new) = (Notebook(), Desk(), Desk())
    old.apply(.start, 1)
    old.see(1, in: 3)
    old.remember(in: memory)

    let record = try #require(memory.records[key(1)])
    let usage = Usage(packets: 3, bytes: 300)
    #expect(new.adopt(record, usage, lastSeen: MonotonicTime(nanoseconds: 7)))
    #expect(!new.adopt(record), "it is there already")
    #expect(!new.hasChanges)
    let flow = try #require(new.held(key(1)))
    #expect(flow.record == record && flow.mark == old.held(key(1))?.mark && flow.mark != nil)
    #expect(flow.usage == usage && flow.lastSeen == MonotonicTime(nanoseconds: 7))

    // The first dump that lacks its socket tells.
    #expect(new.finishDump(1) == [key(1)])
    new.apply(.end, 1)
    let end = try #require(new.announcements.first)
    #expect(new.announcements.count == 1 && end.state == .end && end.start == moment.wall)
  }

  @Test func labelsStayAsTheyWere() throws {
    let desk = Desk(.label(.flow))
    let label = try #require(FlowLabel(SciTag(packed: 145), entropy: 0x40102))
    let key = FlowKey(
      local: Endpoint(try #require(Address("2001:db8::1")), 1),
      remote: Endpoint(try #require(Address("2001:db8::2")), 2), transport: .udp)
    let record = FlowRecord(
      key: key, tag: SciTag(packed: 145), orientation: .outbound, origin: .api, holders: Holders(.api),
      application: .marker, start: moment.wall, label: label, hasSocket: false)
    #expect(desk.adopt(record))
    #expect(desk.held(key)?.mark?.label?.label == label)
  }

  @Test func aFullTableAdoptsNoMore() {
    let (memory, old, new) = (Notebook(), Desk(), Desk(maxFlows: 2))
    for port in 1...3 { old.apply(.start, UInt16(port)) }
    old.remember(in: memory)
    let adopted = memory.records.values.map { new.adopt($0) }
    #expect(adopted.filter { $0 }.count == 2 && new.count == 2)
  }
}
