import Testing

@testable import Flow

private let here = Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), 1094)
private let there = Endpoint(Address(high: 0x2001_0db8 << 32, low: 2), 40000)
private let key = FlowKey(local: here, remote: there, transport: .tcp)
private let outbound = AnnouncedFlow(source: here, destination: there, transport: .tcp)
private let inbound = AnnouncedFlow(source: there, destination: here, transport: .tcp)
private let tag = SciTag(packed: 206)
private let other = SciTag(packed: 144)
private let zero = Moment(
  wall: WallClockTime(microseconds: 1_700_000_000_000_000), monotonic: MonotonicTime(nanoseconds: 0))

/// What fireflies of others may do to the table, and what not.
@Suite struct HearsayTests {
  private struct Bench: ~Copyable {
    var table = FlowTable(policy: .label(.kernel), seed: 7)
    var batch = ChangeBatch()

    mutating func apply(
      _ state: FlowEvent.State, _ origin: Origin = .firefly, _ flow: AnnouncedFlow = outbound,
      _ tag: SciTag = tag,
      local: Set<Address> = [here.address], start: WallClockTime? = nil, end: WallClockTime? = nil
    ) -> FlowTable.Outcome {
      batch.removeAll()
      return table.apply(
        FlowEvent(state, flow, tag, from: origin, startTime: start, endTime: end), at: zero,
        localAddresses: local,
        into: &batch)
    }
  }

  @Test(arguments: [outbound, inbound]) func flowsOfThisHostAreEntered(flow: AnnouncedFlow) {
    var bench = Bench()
    #expect(bench.apply(.ongoing, .firefly, flow) == .started)
    #expect(bench.batch.changes.first?.key == key && bench.batch.announcements.first?.origin == .firefly)
    #expect(bench.apply(.start, .firefly, flow, other) == .refreshed)
    #expect(bench.batch.changes.first?.action == .remark, "its own author may change the tag")
    #expect(bench.apply(.end, .firefly, flow) == .ended)
    #expect(bench.batch.announcements.first?.origin == .firefly && bench.table.count == 0)
  }

  @Test func flowsOfOthersAreNot() {
    var bench = Bench()
    for state in [.start, .ongoing, .end] as [FlowEvent.State] {
      #expect(bench.apply(state, local: [], start: zero.wall) == .notLocal)
      #expect(bench.batch.isEmpty)
    }
    #expect(bench.table.counters.notLocal == 3 && bench.table.count == 0)
    #expect(bench.apply(.start, .pipe, local: []) == .started, "a pipe's word counts on a router, too")
    #expect(bench.apply(.start, local: []) == .refreshed)
  }

  /// The daemon's own fireflies, come back: the remote end is this host too, or a collector sends them on.
  @Test func whatASourceOfThisHostHoldsIsNotTouched() {
    var bench = Bench()
    _ = bench.apply(.start, .pipe)
    #expect(bench.apply(.start, .firefly, outbound, other) == .refreshed)
    #expect(bench.batch.isEmpty && bench.table.flow(key)?.tag == tag)
    #expect(bench.apply(.end, .firefly) == .released)
    #expect(bench.batch.isEmpty)
    _ = bench.apply(.start, .firefly)
    #expect(bench.apply(.end, .pipe) == .ended, "hearsay holds nothing that another source holds")
    #expect(bench.batch.announcements.count == 1)
    #expect(bench.apply(.end, .firefly, start: zero.wall) == .unknownEnd)
    #expect(bench.batch.isEmpty, "and its end is not told again")
  }

  @Test func aSourceOfThisHostTakesOver() {
    var bench = Bench()
    _ = bench.apply(.start, .firefly)
    #expect(bench.apply(.start, .pipe, outbound, other) == .refreshed)
    #expect(bench.table.flow(key)?.tag == other && bench.table.flow(key)?.holders == Holders(.pipe))
    #expect(bench.apply(.end, .firefly) == .released)
    #expect(bench.apply(.end, .pipe) == .ended)
  }

  @Test func anEndBeforeTheStart() {
    var bench = Bench()
    _ = bench.apply(.start)
    #expect(bench.apply(.end, end: WallClockTime(microseconds: 5)) == .ended)
    #expect(bench.batch.announcements.first?.end == zero.wall)
  }
}

/// A box marks for the hosts inside: their networks count as its own.
@Suite struct InsideNetworkTests {
  private let inside = Endpoint(Address(high: 0x2001_0db8 << 32, low: 7), 1094)
  private let other = Endpoint(Address(high: 0x2001_0db9 << 32, low: 9), 40000)

  private func apply(_ source: Endpoint, _ destination: Endpoint, _ networks: [Network]) -> FlowTable.Outcome
  {
    var table = FlowTable(policy: .label(.kernel), seed: 1)
    table.networks = networks
    var batch = ChangeBatch()
    let event = FlowEvent(
      .start, AnnouncedFlow(source: source, destination: destination, transport: .tcp), SciTag(packed: 206),
      from: .firefly)
    let now = Moment(wall: WallClockTime(microseconds: 1), monotonic: MonotonicTime(nanoseconds: 1))
    let outcome = table.apply(event, at: now, localAddresses: [], into: &batch)
    if outcome == .started { #expect(batch.changes.first?.key.local == inside) }
    return outcome
  }

  @Test func hearsayOfTheHostsInside() throws {
    let networks = [try #require(Network("2001:db8::/32"))]
    // Whichever end it is announced by, the packets from the inside are marked.
    #expect(apply(inside, other, networks) == .started)
    #expect(apply(other, inside, networks) == .started)
    #expect(apply(inside, other, []) == .notLocal)
    #expect(apply(other, other, networks) == .notLocal)
  }
}
