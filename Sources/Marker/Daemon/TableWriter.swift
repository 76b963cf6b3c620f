import CLinux
import Flow
import Glibc
import Linux
import Logging
import ServiceLifecycle
import Synchronization
import XDP

/// The one writer of the flow table: takes what sources say, carries it into the kernel, and hands on what is to be
/// announced. All that it works with is used by its thread alone.
final class TableWriter: Service {
  struct Desk: ~Copyable {
    var table: FlowTable
    var keepers: [any PathKeeper]
    let network: NetworkKeeper
    var settings: Settings
    /// Nil where the kernel cannot be asked for sockets.
    let sockets: SocketDesk?
    /// Connections that rules find as they begin.
    var connections = ConnectionDesk()
    /// Which path marks what.
    var plan: Plan
    /// Keeps the flows' records for the next daemon; nil where they end with this one.
    let memory: (any FlowMemory)?
    /// Where paths pin what outlives them.
    let pins: BPFFolder?
    /// No earlier daemon was here.
    let isFirst: Bool
    var batch = ChangeBatch()
    var refusals = ComplaintLimit()
    var hearsay = ComplaintLimit()
    var forgotten = ComplaintLimit()
    var losses = ComplaintLimit()
    var reportedRefusedMarks: UInt64 = 0
    var tallies = PathTallies()
    /// Somebody waits for the paths' counters.
    var wantsCount = false
    /// Somebody looks at the flows' rates until then.
    var watchedUntil = MonotonicTime(nanoseconds: 0)

    init(
      table: consuming FlowTable, keepers: [any PathKeeper], network: NetworkKeeper, sockets: SocketDesk?,
      settings: Settings, plan: Plan, memory: (any FlowMemory)? = nil, pins: BPFFolder? = nil,
      isFirst: Bool = true
    ) {
      self.isFirst = isFirst
      self.memory = memory
      self.pins = pins
      self.sockets = sockets
      self.table = table
      self.keepers = keepers
      self.network = network
      self.settings = settings
      self.plan = plan
    }

    /// Whether somebody looks at what is counted.
    func isWatched(at now: MonotonicTime) -> Bool { wantsCount || watchedUntil > now }

    /// Whether the next daemon is to go on with what is there.
    var leavesMarks: Bool { settings.keepsMarks && memory != nil }

    var status: String {
      guard settings.marksPackets else {
        return "no interface is configured: flows are announced, not marked"
      }
      let marks = plan.assignments.compactMap { assignment in
        assignment.path.map { "\(assignment.stamp.words) by \($0.rawValue)" }
      }
      guard !marks.isEmpty else { return "no path works: flows are announced, not marked" }
      let names = network.selected.map(\.name)
      let place = names.isEmpty ? "; no such interface is here now" : " on \(names.joined(separator: ", "))"
      return "marking \(marks.joined(separator: " and "))\(settings.inline.isOn ? "" : place)"
    }
  }

  private let inbox: BoundedQueue<FlowEvent>
  private let announcements: BoundedQueue<Announcement>
  /// Locked by the writer's thread for as long as it runs.
  private let desk: Mutex<Desk>
  let log: Logger
  /// Settings that are to be taken over.
  let reconfigurations: ReconfigurationBox
  /// What others ask.
  let requests: TableRequests
  private let manager: ServiceManager?
  private let marking: Mutex<String>

  /// What is marked by which path, on one line.
  var status: String { marking.withLock { $0 } }

  /// How often counters are read and silent flows looked for, at most and at least. Milliseconds.
  private static let (checkPeriod, shortestCheckPeriod): (Int64, Int64) = (30_000, 500)

  /// The shortest while somebody looks at rates, and a check then keeps to so small a share of the time. Milliseconds.
  private static let (watchedCheckPeriod, watchedIdleShare): (Int64, Int64) = (2000, 100)

  init(
    _ desk: consuming sending Desk, inbox: BoundedQueue<FlowEvent>, requests: TableRequests,
    _ reconfigurations: ReconfigurationBox, announcements: BoundedQueue<Announcement>,
    manager: ServiceManager? = nil, log: Logger
  ) {
    self.requests = requests
    self.reconfigurations = reconfigurations
    self.manager = manager
    marking = Mutex(desk.status)
    self.desk = Mutex(desk)
    self.inbox = inbox
    self.announcements = announcements
    self.log = log
  }

  func run() async throws {
    await withGracefulShutdownHandler {
      await runOnThread(named: "table") {
        self.desk.withLock { desk in self.write(&desk) }
        self.reconfigurations.close()
        self.requests.close()
        self.announcements.close()
      }
    } onGracefulShutdown: {
      self.inbox.close()
    }
  }

  /// The daemon cannot run after all.
  func abandon() { desk.withLock { desk in desk.abandon() } }

  private func write(_ desk: inout Desk) {
    var events: ContiguousArray<FlowEvent> = []
    var asked: ContiguousArray<TableRequest> = []
    var nextCheck = MonotonicTime.now()
    var nextWatchedCheck = nextCheck
    var pace = OngoingPace(at: nextCheck)
    var heart = Heartbeat(manager, at: nextCheck)
    var work = PendingWork(desk, inbox, reconfigurations, requests)
    while true {
      let nextOngoing = pace.next(of: desk.table.count, period: desk.settings.ongoingPeriod)
      work.wait(desk, until: [nextOngoing, heart.next].compactMap(\.self).reduce(nextCheck, min))
      if work.network, desk.network.update() {
        for keeper in desk.keepers {
          keeper.interfacesChanged(desk.network.selected, gone: desk.network.gone)
        }
      }
      for index in work.keepers { desk.keepers[index].tend(desk.table) }
      for request in reconfigurations.take() {
        request.answer(
          Result {
            try desk.reconfigure(request.settings, log: log)
            marking.withLock { [status = desk.status] in $0 = status }
            Self.follow(&desk, log: log)
            takeConnections(&desk, at: .now())
            endExcluded(&desk, at: .now())
          })
        work = PendingWork(desk, inbox, reconfigurations, requests)
      }
      let isOpen = inbox.take(into: &events)
      let now = Moment.now()
      for event in events { apply(event, at: now, &desk) }
      requests.take(into: &asked)
      if !asked.isEmpty { answer(asked, at: now, &desk) }
      takeConnections(&desk, at: now)
      if desk.isWatched(at: now.monotonic) { nextCheck = min(nextCheck, nextWatchedCheck) }
      if now.monotonic >= nextCheck {
        if desk.isWatched(at: now.monotonic) { desk.sockets?.watch.hurry() }
        readUsage(&desk, at: now)
        desk.table.age(at: now, into: &desk.batch)
        if !desk.table.hasChangedRecords { remember(&desk, at: now.monotonic) }
        desk.wantsCount = false
        nextCheck = now.monotonic.advanced(milliseconds: Self.checkPeriod(desk.settings))
        let spent = MonotonicTime.now().microseconds(since: now.monotonic)
        nextWatchedCheck = now.monotonic.advanced(
          milliseconds: max(Self.watchedCheckPeriod, spent * Self.watchedIdleShare / 1000))
      }
      let due = pace.due(of: desk.table.count, period: desk.settings.ongoingPeriod, at: now.monotonic)
      desk.table.announceOngoing(due, into: &desk.batch)
      if !isOpen {
        desk.connections.stop()
        if !desk.leavesMarks { desk.table.endAll(at: now, into: &desk.batch) }
      }
      settleSockets(&desk, at: now)
      flush(&desk)
      heart.beat(at: now.monotonic)
      if !isOpen {
        finish(&desk)
        desk.sockets?.watch.facts.close()
        return
      }
    }
  }

  private func finish(_ desk: inout Desk) {
    guard desk.leavesMarks else {
      for keeper in desk.keepers { keeper.finish(successors: []) }
      // It may have been to keep them, until a reload.
      do throws(MemoryError) { try desk.memory?.forgetAll() } catch {
        log.warning("the records of flows stay; `marker clean` removes them", metadata: ["error": "\(error)"])
      }
      return
    }
    remember(&desk, at: .now())
    let seconds = desk.settings.graceTime / 1_000_000
    for keeper in desk.keepers { keeper.leaveMarks(for: Int(seconds)) }
    guard desk.keepers.contains(where: \.marksOutlive) else {
      log.info(
        "flows are kept for the next daemon; their packets leave unmarked until then",
        metadata: ["flows": "\(desk.table.count)"])
      return
    }
    log.info(
      "marks stay for the next daemon; `marker clean` takes them away",
      metadata: ["flows": "\(desk.table.count)", "graceTime": "\(seconds)s"])
  }

  /// Has the kernel know what the table knows.
  private func remember(_ desk: inout Desk, at now: MonotonicTime) {
    guard let memory = desk.memory else { return }
    desk.table.remember(in: memory)
    do throws(MemoryError) {
      try memory.settle(at: now)
      if memory.hasLostAll {
        desk.table.touchAll()
        desk.table.remember(in: memory)
        try memory.settle(at: now)
      }
    } catch {
      desk.forgotten.report(log, "cannot keep all flows for the next daemon", ["error": "\(error)"])
    }
  }

  /// Ongoing fireflies tell what was last counted, so it has to be counted more often than they are sent.
  private static func checkPeriod(_ settings: Settings) -> Int64 {
    guard let period = settings.ongoingPeriod else { return checkPeriod }
    return min(max(period / 2000, shortestCheckPeriod), checkPeriod)
  }

  /// Gives rules and paths to what finds sockets.
  static func follow(_ desk: inout Desk, log: Logger) {
    desk.connections.follow(desk.settings, desk.plan, desk.keepers, log: log)
    for keeper in desk.keepers where desk.connections.isLive { (keeper as? SockKeeper)?.moveLast() }
    desk.sockets?.follow(desk.settings, findsConnections: desk.connections.isLive)
  }

  @discardableResult
  func apply(_ event: FlowEvent, at now: Moment, _ desk: inout Desk) -> FlowTable.Outcome {
    let outcome = desk.table.apply(
      event, at: now, localAddresses: desk.network.localAddresses, into: &desk.batch)
    switch outcome {
    case .refusedFull: tellOfFullTable(event.flow, &desk)
    case .notLocal:
      desk.hearsay.report(
        log, "a firefly tells of a flow that has no end on this host; it is not marked",
        ["flow": "\(event.flow)"])
    case .started, .refreshed, .ended, .released, .unknownEnd: break
    }
    return outcome
  }

  func tellOfFullTable(_ flow: AnnouncedFlow, _ desk: inout Desk) {
    desk.refusals.report(
      log, "the table is full; a flow is not marked (raise --max-flows)", ["flow": "\(flow)"])
  }

  private func readUsage(_ desk: inout Desk, at now: Moment) {
    desk.table.beginReading(at: now.monotonic)
    for keeper in desk.keepers {
      var unknown: [FlowKey] = []
      do {
        guard let entered = desk.connections.path(of: keeper) else {
          let path = keeper.path.kind
          try keeper.path.readUsage { key, usage in desk.table.note(usage, of: key, at: now, by: path) }
          continue
        }
        try entered.readTable { key, usage in
          let isKnown =
            if let usage, keeper is TCKeeper { desk.table.note(usage, of: key, at: now) } else {
              desk.table.has(key)
            }
          if !isKnown { unknown.append(key) }
        }
        try desk.connections.sweep(unknown, desk.sockets)
      } catch {
        log.error("cannot see which flows are silent", metadata: ["error": "\(error)"])
      }
    }
  }

  /// First the kernel, then the announcements: a flow is marked before anybody is told of it.
  func flush(_ desk: inout Desk) {
    if desk.batch.isEmpty, !desk.table.hasChangedRecords { return }
    desk.keepers.carry(&desk.batch)
    for change in desk.batch.changes {
      guard let failure = change.failure else { continue }
      desk.refusals.report(
        log, "the kernel refused a mark; the flow goes on without",
        [
          "flow": "\(change.key)", "path": "\(failure.path.rawValue)",
          "error": "\(String(cString: strerror(failure.code)))",
        ])
    }
    let refusedMarks = desk.table.counters.refusedMarks
    if refusedMarks != desk.reportedRefusedMarks {
      desk.reportedRefusedMarks = refusedMarks
      desk.refusals.report(
        log, "flows whose experiment has no mark are announced only", ["count": "\(refusedMarks)"])
    }
    desk.table.settle(desk.batch)
    desk.batch.settleUsage()
    // Before it is announced, so that every start that was told of has its end.
    if desk.table.hasChangedRecords { remember(&desk, at: .now()) }
    _ = announcements.add(desk.batch.announcements)
    desk.batch.removeAll()
  }
}
