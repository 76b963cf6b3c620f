import Testing

@testable import Flow

private struct Facts: SocketFacts {
  var user: UInt32?
  var group: String?
  var process: String?

  func isOwned(by users: [SocketRule.User]) -> Bool? {
    user.map { number in users.contains { $0.number == number } }
  }
  func isInGroup(_ path: String) -> Bool? { group.map { $0 == path } }
  func isHeld(by processes: [String]) -> Bool? { process.map { processes.contains($0) } }
}

@Suite struct SocketRuleTests {
  private let tag = SciTag(packed: 145)
  private let cms = SciTag(packed: 206)

  private func key(
    _ local: UInt16, _ remote: UInt16, to address: String = "2001:db8::2",
    _ transport: TransportProtocol = .tcp
  ) throws -> FlowKey {
    let far = try #require(Address(address))
    let near = try #require(Address(far.isIPv4 ? "192.0.2.1" : "2001:db8::1"))
    return FlowKey(local: Endpoint(near, local), remote: Endpoint(far, remote), transport: transport)
  }

  @Test func allConditionsHaveToHold() throws {
    let rule = SocketRule(
      .tag([tag]), localPorts: [try #require(PortRange(1094))],
      remotePorts: [try #require(PortRange(1000, 2000)), try #require(PortRange(3000))],
      networks: try ["2001:db8::/64", "192.0.2.0/25"].map { try Network(text: $0) }, transports: [.tcp])
    let yes = RuleAnswer.tags([tag], .socketWatch)
    for remote in [1000, 1500, 2000, 3000] as [UInt16] {
      #expect([rule].answer(try key(1094, remote)) == yes)
    }
    for remote in [999, 2001, 2999] as [UInt16] { #expect([rule].answer(try key(1094, remote)) == .none) }
    #expect([rule].answer(try key(1095, 1000)) == .none)
    #expect([rule].answer(try key(1094, 1000, .udp)) == .none)
    #expect([rule].answer(try key(1094, 1000, to: "2001:db8:0:1::2")) == .none)
    #expect([rule].answer(try key(1094, 1000, to: "192.0.2.127")) == yes)
    #expect([rule].answer(try key(1094, 1000, to: "192.0.2.128")) == .none)
    #expect([SocketRule]().answer(try key(1, 1)) == .none)
    #expect([SocketRule(.tag([tag]))].answer(try key(1, 1, .sctp)) == .none)
  }

  @Test func theFirstThatFitsDecides() throws {
    let rules = [
      SocketRule(.exclude, localPorts: [try #require(PortRange(22))]),
      SocketRule(.tag([cms]), remotePorts: [try #require(PortRange(1094))]), SocketRule(.tag([tag])),
    ]
    #expect(rules.answer(try key(22, 1094)) == .none)
    #expect(rules.answer(try key(23, 1094)) == .tags([cms], .socketWatch))
    #expect(rules.answer(try key(23, 1095)) == .tags([tag], .socketWatch))
  }

  @Test func whatIsNotKnownDecidesNothing() throws {
    let users = SocketRule(.tag([tag]), users: [SocketRule.User(7)])
    let rules = [users, SocketRule(.tag([cms]), group: "/a", processes: ["x"]), SocketRule(.exclude)]
    let socket = try key(1, 2)
    #expect(rules.answer(socket) == .undecided)
    #expect(rules.answer(socket, Facts(user: 7)) == .tags([tag], .socketWatch))
    #expect(rules.answer(socket, Facts(user: 8)) == .undecided)
    #expect(rules.answer(socket, Facts(user: 8, group: "/b")) == .none, "one that fails is enough")
    #expect(rules.answer(socket, Facts(user: 8, group: "/a")) == .undecided)
    #expect(rules.answer(socket, Facts(user: 8, group: "/a", process: "y")) == .none)
    #expect(rules.answer(socket, Facts(user: 8, group: "/a", process: "x")) == .tags([cms], .socketWatch))
    // A rule whose addresses do not fit is not asked about.
    let other = [
      SocketRule(.tag([tag]), localPorts: [try #require(PortRange(9))], users: [SocketRule.User(7)])
    ]
    #expect(other.answer(socket) == .none)
  }
}

/// Whose word counts in the table.
@Suite struct RuleFlowTests {
  private let tag = SciTag(packed: 145)
  private let cms = SciTag(packed: 206)
  private let flow = AnnouncedFlow(
    source: Endpoint(Address(high: 1, low: 1), 1), destination: Endpoint(Address(high: 1, low: 2), 2),
    transport: .tcp)
  private let here: Set<Address> = [Address(high: 1, low: 1)]
  private var key: FlowKey { FlowKey(local: flow.source, remote: flow.destination, transport: .tcp) }

  private func at(_ seconds: Int64) -> Moment {
    Moment(
      wall: WallClockTime(microseconds: seconds * 1_000_000),
      monotonic: MonotonicTime(nanoseconds: UInt64(seconds) * 1_000_000_000))
  }

  @Test(arguments: [Origin.pipe, .api, .command, .firefly])
  func aRuleNeverChangesWhatIsDeclared(origin: Origin) {
    var table = FlowTable(policy: .label(.kernel), seed: 1)
    var batch = ChangeBatch()
    table.apply(FlowEvent(.start, flow, cms, from: origin), at: at(1), localAddresses: here, into: &batch)
    table.apply(
      FlowEvent(.start, flow, tag, from: .socketWatch), at: at(2), localAddresses: here, into: &batch)
    let isFound = table.isFoundBySocket(key)
    #expect(table.flow(key)?.tag == cms && !isFound)
    let end = table.apply(
      FlowEvent(.end, flow, cms, from: origin), at: at(3), localAddresses: here, into: &batch)
    #expect(end == .ended, "the rule does not keep it")
    #expect(batch.announcements.map(\.state) == [.start, .end])
  }

  @Test(arguments: [Origin.pipe, .api, .command, .firefly])
  func whatIsDeclaredReplacesARule(origin: Origin) {
    var table = FlowTable(policy: .label(.kernel), seed: 1)
    var batch = ChangeBatch()
    table.apply(
      FlowEvent(.start, flow, tag, from: .socketWatch), at: at(1), localAddresses: here, into: &batch)
    let isFound = table.isFoundBySocket(key)
    #expect(isFound)
    table.apply(FlowEvent(.start, flow, cms, from: origin), at: at(2), localAddresses: here, into: &batch)
    #expect(table.flow(key)?.tag == cms && batch.changes.map(\.action) == [.mark, .remark])
    let holders = table.flow(key)?.holders
    #expect(holders == Holders(origin))
    table.apply(
      FlowEvent(.start, flow, tag, from: .socketWatch), at: at(3), localAddresses: here, into: &batch)
    #expect(table.flow(key)?.tag == cms)
  }

  @Test func aRuleReplacesTheMarkAllTag() {
    var table = FlowTable(policy: .label(.kernel), seed: 1)
    var batch = ChangeBatch()
    table.apply(FlowEvent(.start, flow, tag, from: .perfSONAR), at: at(1), localAddresses: here, into: &batch)
    table.apply(
      FlowEvent(.start, flow, cms, from: .socketWatch), at: at(2), localAddresses: here, into: &batch)
    #expect(table.flow(key)?.tag == cms)
    table.apply(FlowEvent(.start, flow, tag, from: .perfSONAR), at: at(3), localAddresses: here, into: &batch)
    let isFound = table.isFoundBySocket(key)
    #expect(table.flow(key)?.tag == cms && isFound)
  }

  @Test func anEndOfOneThatDoesNotHoldItEndsNothing() {
    var table = FlowTable(policy: .label(.kernel), seed: 1)
    var batch = ChangeBatch()
    table.apply(
      FlowEvent(.start, flow, tag, from: .socketWatch), at: at(1), localAddresses: here, into: &batch)
    let end = table.apply(
      FlowEvent(.end, flow, cms, from: .pipe), at: at(2), localAddresses: here, into: &batch)
    #expect(end == .released && table.count == 1)
  }

  @Test func whatHoldsNoMoreEndsUnlessAnotherHoldsIt() {
    var table = FlowTable(policy: .label(.kernel), seed: 1)
    var batch = ChangeBatch()
    for port in 1...4 as ClosedRange<UInt16> {
      let flow = AnnouncedFlow(
        source: Endpoint(self.flow.source.address, port), destination: self.flow.destination, transport: .tcp)
      let origin: Origin = port == 4 ? .socketWatch : .perfSONAR
      table.apply(FlowEvent(.start, flow, tag, from: origin), at: at(1), localAddresses: here, into: &batch)
      if port == 3 {
        table.apply(FlowEvent(.start, flow, cms, from: .pipe), at: at(1), localAddresses: here, into: &batch)
      }
    }
    batch.removeAll()
    table.end(heldBy: .perfSONAR, at: at(2), into: &batch) { $0.local.port != 1 }
    #expect(batch.announcements.map(\.key.local.port) == [2] && batch.announcements[0].state == .end)
    #expect(table.count == 3)
  }

  @Test func whatTheKernelEnteredKeepsItsEntropy() throws {
    var table = FlowTable(policy: .label(.flow), seed: 1)
    var batch = ChangeBatch()
    table.apply(
      FlowEvent(.start, flow, tag, from: .socketWatch, entered: 0xc0103), at: at(1), localAddresses: here,
      into: &batch)
    let change = try #require(batch.changes.first)
    #expect(change.isEntered && change.mark.label?.label == FlowLabel(tag, entropy: 0xc0103))
  }

  /// A flow that a rule found has a socket, so the first dump without it is telling.
  @Test(arguments: [TransportProtocol.tcp, .udp]) func aSocketThatIsGoneIsMissed(transport: TransportProtocol)
  {
    var table = FlowTable(policy: .label(.kernel), seed: 1)
    var batch = ChangeBatch()
    let found = AnnouncedFlow(source: flow.source, destination: flow.destination, transport: transport)
    let told = AnnouncedFlow(
      source: Endpoint(flow.source.address, 9), destination: flow.destination, transport: transport)
    table.apply(
      FlowEvent(.start, found, tag, from: .socketWatch), at: at(1), localAddresses: here, into: &batch)
    table.apply(FlowEvent(.start, told, tag, from: .pipe), at: at(1), localAddresses: here, into: &batch)
    var missing: [FlowKey] = []
    _ = table.finishDump(1, of: transport == .tcp ? .udp : .tcp, began: at(2)) { missing.append($0) }
    #expect(missing.isEmpty)
    _ = table.finishDump(1, of: transport, began: at(2)) { missing.append($0) }
    #expect(missing == [FlowKey(local: found.source, remote: found.destination, transport: transport)])
  }
}
