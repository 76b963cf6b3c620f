import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import XDP

private let tag = SciTag(packed: 145)

/// A program at the TCP events of a group, a path that it enters into, and a namespace whose sockets it sees.
private struct WatchLab {
  let namespace: NetworkNamespace
  let group: LabGroup
  let path: TCPath
  let watch: ConnectionWatch
  let here: Address

  init(
    _ rules: [SocketRule], ringBytes: UInt32 = 1 << 16, tellsNamespaces: Bool = true, maxFlows: Int = 1000
  ) throws {
    let namespace = try NetworkNamespace()
    let group = try LabGroup()
    let path = try TCPath(maxFlows: maxFlows)
    watch = try ConnectionWatch(
      rules, .label(.kernel), entering: path, group: group.folder, ringBytes: ringBytes,
      cookie: tellsNamespaces ? namespace.run { NetworkNamespaceCookie.own() } : nil)
    here = try #require(Address("::1"))
    (self.namespace, self.group, self.path) = (namespace, group, path)
  }

  func events() -> [ConnectionWatch.Event] {
    var events: [ConnectionWatch.Event] = []
    while watch.take({ events.append($0) }) > 0 {}
    return events
  }

  /// The keys in the path's table.
  func entries() throws -> [FlowKey: Usage] {
    var found: [FlowKey: Usage] = [:]
    try path.readUsage { found[$0] = $1 }
    return found
  }

  func listen(_ port: UInt16, _ address: Address? = nil, in other: NetworkNamespace? = nil) throws
    -> LabSocket
  {
    let listener = try LabSocket(.tcp, in: other ?? namespace, bound: Endpoint(address ?? here, port))
    try listener.listen()
    return listener
  }

  func connect(to port: UInt16, _ address: Address? = nil, in other: NetworkNamespace? = nil) throws
    -> LabSocket
  {
    try group.run {
      let near = try LabSocket(.tcp, in: other ?? namespace, bound: Endpoint(address ?? here, 0))
      try near.connect(to: Endpoint(address ?? here, port))
      return near
    }
  }

  func key(_ near: LabSocket, _ port: UInt16) -> FlowKey {
    FlowKey(local: near.local, remote: Endpoint(near.local.address, port), transport: .tcp)
  }
}

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ConnectionWatchTests {
  private func rule(_ port: UInt16, _ tags: [SciTag] = [tag]) throws -> SocketRule {
    SocketRule(.tag(tags), remotePorts: [try #require(PortRange(port))])
  }

  @Test func aConnectionIsEnteredAndToldOfOnce() throws {
    let lab = try WatchLab([try rule(5201)])
    let listener = try lab.listen(5201)
    let near = try lab.connect(to: 5201)
    let key = lab.key(near, 5201)
    let events = lab.events()
    #expect(events.count == 1 && events[0].key == key && events[0].entered != nil)
    if case .tagged(let told) = events[0].kind { #expect(told == tag) } else { Issue.record("\(events)") }
    #expect(try lab.entries().keys.map(\.self) == [key])
    // Told of, it is userspace's: its end changes nothing here.
    _ = consume near
    _ = consume listener
    #expect(lab.events().isEmpty)
    #expect(try lab.entries().count == 1)
    try lab.path.forget(key)
    #expect(try lab.entries().isEmpty)
  }

  @Test func anAttemptThatFailsLeavesNothing() throws {
    let lab = try WatchLab([try rule(5201)])
    for _ in 0..<20 { #expect(throws: SystemError.self) { try lab.connect(to: 5201) } }
    let events = lab.events()
    #expect(events.count == 20)
    for event in events { if case .dropped = event.kind {} else { Issue.record("\(event)") } }
    #expect(try lab.entries().isEmpty)
  }

  @Test func whatIsThereStaysAsItIs() throws {
    let lab = try WatchLab([try rule(5201)])
    let listener = try lab.listen(5201)
    let near = try lab.group.run { try LabSocket(.tcp, in: lab.namespace, bound: Endpoint(lab.here, 0)) }
    let key = lab.key(near, 5201)
    var batch = ChangeBatch()
    let declared = Mark(label: LabelStamp(try #require(FlowLabel(SciTag(packed: 206), entropy: 0)), .flow))
    batch.changes.append(ChangeBatch.Change(.mark, key, declared))
    lab.path.apply(&batch)
    try near.connect(to: listener.local)
    #expect(lab.events().map(\.entered) == [nil])
  }

  @Test func aTableThatIsFullIsToldOfAllTheSame() throws {
    let lab = try WatchLab([try rule(5201)], maxFlows: 1)
    let listener = try lab.listen(5201)
    let sockets = try (0..<3).map { _ in try lab.connect(to: 5201) }
    let events = lab.events()
    #expect(events.count == 3 && events.count { $0.entered != nil } == 1)
    #expect(sockets.count == 3 && listener.local.port == 5201)
  }

  @Test func networksFamiliesAndOrder() throws {
    let loopback4 = try #require(Address("127.0.0.1"))
    let cms = SciTag(packed: 206)
    let lab = try WatchLab([
      SocketRule(
        .exclude, remotePorts: [try #require(PortRange(5205))], networks: [try Network(text: "127.0.0.0/8")]),
      SocketRule(
        .tag([cms]), networks: [try Network(text: "127.0.0.1/32"), try Network(text: "2001:db8::/32")]),
      SocketRule(.tag([tag]), networks: [try Network(text: "::/0")]),
    ])
    let listeners = try [
      lab.listen(5205, loopback4), lab.listen(5206, loopback4), lab.listen(5205),
    ]
    let sockets = try [
      lab.connect(to: 5205, loopback4), lab.connect(to: 5206, loopback4), lab.connect(to: 5205),
    ]
    let told = lab.events().filter { [5205, 5206].contains($0.key.remote.port) }
    #expect(told.map(\.key) == [lab.key(sockets[1], 5206), lab.key(sockets[2], 5205)])
    let tags = told.map { if case .tagged(let tag) = $0.kind { tag } else { SciTag(packed: 0) } }
    #expect(tags == [cms, tag] && listeners.count == 3)
    // IPv4 is not stamped by this policy, so there is nothing to enter.
    #expect(told.map { $0.entered != nil } == [false, true])
  }

  @Test func theSameTagIsChosenHereAndThere() throws {
    let tags = (1...5).map { SciTag(packed: UInt16($0) << 6 | 1) }
    let lab = try WatchLab([try rule(5201, tags)])
    let listener = try lab.listen(5201)
    let sockets = try (0..<60).map { _ in try lab.connect(to: 5201) }
    var seen: Set<SciTag> = []
    for event in lab.events() {
      guard case .tagged(let told) = event.kind else { continue }
      #expect(told == tags[TagChoice.place(of: event.key, among: tags.count)])
      seen.insert(told)
    }
    #expect(seen.count == 5 && sockets.count == 60 && listener.local.port == 5201)
  }

  @Test func otherNamespacesAreToldOfOnlyWhereTheKernelCannotTell() throws {
    for tells in [true, false] {
      let lab = try WatchLab([try rule(5201)], tellsNamespaces: tells)
      #expect(lab.watch.knowsNamespaces == tells)
      let other = try NetworkNamespace()
      let listener = try lab.listen(5201, in: other)
      let near = try lab.connect(to: 5201, in: other)
      #expect(lab.events().count == (tells ? 0 : 1))
      #expect(try lab.entries().count == (tells ? 0 : 1))
      #expect(near.local != listener.local)
    }
  }

  @Test func aFullRingIsCountedAndLeavesNothing() throws {
    let lab = try WatchLab([try rule(5201)], ringBytes: 4096)
    let listener = try lab.listen(5201)
    var accepted: [LabSocket] = []
    do {
      let sockets = try (0..<100).map { _ in
        let near = try lab.connect(to: 5201)
        accepted.append(try listener.accept())
        return near
      }
      #expect(try lab.entries().count == 100, "marked all the same")
      #expect(sockets.count == 100)
    }
    let lost = lab.watch.lost
    #expect(lost > 0)
    let told = lab.events().filter { if case .tagged = $0.kind { true } else { false } }
    #expect(told.count == 100 - Int(lost))
    accepted = []
    // What was not told of goes with its connection, when the last acknowledgement has come.
    let wanted = Set(told.map(\.key))
    for _ in 0..<1000 where try Set(lab.entries().keys) != wanted { usleep(10_000) }
    #expect(try Set(lab.entries().keys) == wanted)
  }

  @Test func moreRulesThanTheKernelTakes() throws {
    let networks = try (0..<300).map { try Network(text: "10.\($0 / 250).\($0 % 250).0/24") }
    let lab = try WatchLab([
      try rule(5201), SocketRule(.exclude, networks: networks), try rule(5202, [SciTag(packed: 206)]),
    ])
    let listeners = try [lab.listen(5201), lab.listen(5202)]
    let sockets = try [lab.connect(to: 5201), lab.connect(to: 5202)]
    let told = lab.events().filter { $0.key.remote.port < 6000 }
    #expect(told.count == 2 && listeners.count == sockets.count)
    if case .tagged = told[0].kind {} else { Issue.record("\(told[0])") }
    if case .ask = told[1].kind {} else { Issue.record("\(told[1])") }
  }

  /// While one is replaced by another, and beside those of others.
  @Test func twoAtOnceHearTheSame() throws {
    let lab = try WatchLab([try rule(5201)])
    let other = try ConnectionWatch(
      [try rule(5201)], .label(.kernel), entering: lab.path, group: lab.group.folder, ringBytes: 4096,
      cookie: lab.namespace.run { NetworkNamespaceCookie.own() })
    let listener = try lab.listen(5201)
    let near = try lab.connect(to: 5201)
    var heard: [ConnectionWatch.Event] = []
    other.take { heard.append($0) }
    let first = lab.events()
    #expect(first.map(\.key) == heard.map(\.key) && first.count == 1)
    #expect(first[0].key == lab.key(near, 5201) && listener.local.port == 5201)
  }
}
