import Flow
import Glibc
import Lab
import Linux
import Logging
import Testing

@testable import Marker
@testable import XDP

private let tag = SciTag(packed: 145)

/// The writer's desk for connections in a namespace, with a path that is attached to nothing.
private struct DeskLab {
  let namespace: NetworkNamespace
  let group: LabGroup
  let keeper: TCKeeper
  let sockets: SocketDesk
  let settings: Settings

  init() throws {
    let (namespace, group) = (try NetworkNamespace(), try LabGroup())
    var settings = Settings(interfaces: InterfaceSelection(names: ["lo"]))
    settings.rules = [SocketRule(.tag([tag]), remotePorts: [try #require(PortRange(5201))])]
    settings.sockets.group = .folder(group.folder)
    let said = settings
    var log = Logger(label: "test")
    log.logLevel = .critical
    let quiet = log
    keeper = try namespace.run {
      try TCKeeper([], said, try said.plan(), PathHeritage(), log: quiet)
    }
    sockets = try namespace.run { try SocketDesk(said, log: quiet) }
    (self.namespace, self.group, self.settings) = (namespace, group, settings)
  }

  func desk(tellsNamespaces: Bool) throws -> ConnectionDesk {
    var log = Logger(label: "test")
    log.logLevel = .critical
    let quiet = log
    return try namespace.run {
      var desk = ConnectionDesk { rules, policy, path, folder throws(BPFError) in
        try ConnectionWatch(
          rules, policy, entering: path, group: folder, ringBytes: 1 << 16,
          cookie: tellsNamespaces ? NetworkNamespaceCookie.own() : nil)
      }
      desk.follow(settings, try settings.plan(), [keeper], log: quiet)
      return desk
    }
  }

  func connect(in other: NetworkNamespace) throws -> (near: LabSocket, far: LabSocket) {
    let here = try #require(Address("::1"))
    let listener = try LabSocket(.tcp, in: other, bound: Endpoint(here, 5201))
    try listener.listen()
    return try group.run {
      let near = try LabSocket(.tcp, in: other, bound: Endpoint(here, 0))
      try near.connect(to: listener.local)
      return (near, try listener.accept())
    }
  }

  func entries() throws -> [FlowKey] {
    var keys: [FlowKey] = []
    try keeper.path.readUsage { key, _ in keys.append(key) }
    return keys
  }
}

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ConnectionDeskTests {
  private let mark = Mark(label: FlowLabel(tag, entropy: 0).map { LabelStamp($0, .kernel) })

  /// Where the kernel does not tell the namespace, a connection of another is entered by the program and removed here.
  @Test(arguments: [true, false]) func othersConnectionsAreNoFlows(tellsNamespaces: Bool) throws {
    let lab = try DeskLab()
    var desk = try lab.desk(tellsNamespaces: tellsNamespaces)
    let other = try NetworkNamespace()
    let (foreign, own) = (try lab.connect(in: other), try lab.connect(in: lab.namespace))
    var told: [FlowEvent] = []
    let taken = desk.take(lab.sockets) { event in
      told.append(event)
      return (.started, nil)
    }
    #expect(
      told.map(\.flow.source) == [own.near.local] && told.allSatisfy { $0.entered != nil && $0.tag == tag })
    #expect(taken.failure == nil && taken.lost == nil && foreign.near.local.port != 0)
    #expect(try lab.entries().map(\.local) == [own.near.local])
  }

  @Test func whatTheTableRefusesIsNotMarked() throws {
    let lab = try DeskLab()
    var desk = try lab.desk(tellsNamespaces: true)
    let sockets = try lab.connect(in: lab.namespace)
    #expect(try lab.entries().map(\.local) == [sockets.near.local])
    _ = desk.take(lab.sockets) { _ in (.refusedFull, nil) }
    #expect(try lab.entries().isEmpty)
  }

  @Test func whatTheTableKnowsByAnothersWordGetsItsMark() throws {
    let lab = try DeskLab()
    var desk = try lab.desk(tellsNamespaces: true)
    let sockets = try lab.connect(in: lab.namespace)
    let taken = desk.take(lab.sockets) { _ in (.refreshed, mark) }
    #expect(taken.remarks.map(\.mark) == [mark] && taken.remarks[0].key.local == sockets.near.local)
    #expect(try lab.entries().count == 1)
  }

  @Test func straysAreRemovedAtTheSecondLook() throws {
    let lab = try DeskLab()
    var desk = try lab.desk(tellsNamespaces: true)
    let sockets = try lab.connect(in: lab.namespace)
    let there = try #require(try lab.entries().first)
    #expect(there.local == sockets.near.local)
    let stray = FlowKey(local: there.local, remote: Endpoint(there.remote.address, 9), transport: .tcp)
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, stray, mark))
    lab.keeper.path.apply(&batch)
    try desk.sweep([stray, there], lab.sockets)
    #expect(try lab.entries().count == 2)
    try desk.sweep([stray, there], lab.sockets)
    #expect(try lab.entries() == [there], "a connection on its way to the table stays")
  }

  /// What the one before told of until its end is judged by the new rules.
  @Test func nothingIsLostBetweenTwoWatches() throws {
    let lab = try DeskLab()
    var desk = try lab.desk(tellsNamespaces: true)
    let sockets = try lab.connect(in: lab.namespace)
    var log = Logger(label: "test")
    log.logLevel = .critical
    let quiet = log
    try lab.namespace.run { desk.follow(lab.settings, try lab.settings.plan(), [lab.keeper], log: quiet) }
    var told: [Endpoint] = []
    _ = desk.take(lab.sockets) { event in
      told.append(event.flow.source)
      return (.started, nil)
    }
    #expect(told == [sockets.near.local])
    desk.stop()
    #expect(!desk.isLive && desk.descriptor == nil)
  }
}
