import Firefly
import Flow
import Glibc
import Linux
import Logging

/// What the table's writer does about sockets: it ends flows with them, and gives announcements what they tell. The
/// writer's thread alone uses it.
///
/// Destroyed sockets are told of by the kernel at once and with their last counts; dumps find what notifications
/// missed. A socket that is asked for alone costs a few microseconds, so what an announcement tells is always of the
/// moment it is made, and nothing but the byte counts is kept meanwhile.
final class SocketDesk {
  let watch: SocketWatch
  private let query: SocketDump
  private let ends: SocketEnds?
  private let log: Logger

  /// A socket that is gone.
  struct Gone {
    let key: FlowKey
    let bytes: SocketBytes?
    let report: TCPReport?
    let time: Moment
  }
  private var gone: ContiguousArray<Gone> = []
  private var strangers = GoneStrangers()
  private var released = ReleasedSockets()
  private var hasRules = false
  private var facts: ContiguousArray<SocketFact> = []
  private var missing: ContiguousArray<FlowKey> = []
  /// The ends in a batch, by flow.
  private var ending: [FlowKey: Int] = [:]

  /// Flows in a batch whose socket is asked for as they start; those of large batches wait for the next dump.
  private static let startQuestions = 64
  /// Dumps where the kernel tells of destroyed sockets, and where it does not. Milliseconds.
  private static let (notifiedPeriod, unnotifiedPeriod): (Int64, Int64) = (30_000, 5_000)

  /// - Throws: where the kernel cannot be asked for sockets.
  init(_ settings: Settings, log: Logger) throws(SystemError) {
    self.log = log
    query = try SocketDump()
    do throws(SystemError) {
      ends = try SocketEnds()
    } catch {
      // Out of descriptors there will be no dumps either.
      guard error.code != EMFILE, error.code != ENFILE else { throw error }
      log.info(
        "the kernel does not tell of closed sockets; they are looked for", metadata: ["error": "\(error)"])
      ends = nil
    }
    // The program at TCP's events comes later, if at all.
    watch = try SocketWatch(
      Self.schedule(settings, isNotified: ends != nil, findsConnections: false), log: log)
  }

  private static func schedule(
    _ settings: Settings, isNotified: Bool, findsConnections: Bool
  ) -> SocketSchedule {
    let rules = settings.socketRules
    let asked = settings.sockets.period / 1000
    var schedule = SocketSchedule(rules: rules, tcpPeriod: isNotified ? notifiedPeriod : unnotifiedPeriod)
    if !findsConnections, rules.contains(where: { $0.transports.contains(.tcp) }) {
      schedule.tcpPeriod = asked
    }
    if rules.contains(where: { $0.transports.contains(.udp) }) { schedule.udpPeriod = asked }
    return schedule
  }

  /// Goes by these rules from now on.
  ///
  /// - Parameter findsConnections: whether TCP's connections are told of as they begin.
  func follow(_ settings: Settings, findsConnections: Bool) {
    hasRules = !settings.socketRules.isEmpty
    watch.setSchedule(
      Self.schedule(settings, isNotified: ends != nil, findsConnections: findsConnections))
  }

  /// Readable while sockets were destroyed that nobody looked at.
  var endsDescriptor: Int32? { ends?.descriptor }

  /// Takes over what happened to sockets since the last call, and completes the batch's announcements. Events that came
  /// meanwhile have to be applied already, so that the start of a flow is known before its socket's end.
  ///
  /// - Parameter start: applies the start of a flow that a rule finds.
  func settle(
    _ table: inout FlowTable, _ batch: inout ChangeBatch, _ settings: Settings, at now: Moment,
    start: (FlowEvent, inout FlowTable, inout ChangeBatch) -> Void
  ) {
    let enriches = settings.enrichment != .none
    takeEnds(at: now, enriches)
    takeFacts(&table, &batch, settings, at: now, start)
    completeEarlier(&table, &batch, enriches, at: now)
    endFlows(&table, &batch, settings)
    watch.setHasFlows(table.count > 0)
  }

  private func takeEnds(at now: Moment, _ enriches: Bool) {
    guard let ends else { return }
    do {
      let isComplete = try ends.take { socket in
        released.remove(socket.key)
        let info = socket.tcpInfo
        gone.append(
          Gone(
            key: socket.key, bytes: info?.bytes, report: enriches ? info.map(TCPReport.init) : nil, time: now)
        )
      }
      if !isComplete { watch.hurry() }
    } catch {
      log.error("cannot read of closed sockets", metadata: ["error": "\(error)"])
    }
  }

  /// Asks for the sockets of the flows that are announced.
  private func completeEarlier(
    _ table: inout FlowTable, _ batch: inout ChangeBatch, _ enriches: Bool, at now: Moment
  ) {
    ending.removeAll(keepingCapacity: true)
    var questions = Self.startQuestions
    // Flows that end below have their announcements behind these, complete.
    for index in batch.announcements.indices where batch.announcements[index].mayHaveSocket {
      let key = batch.announcements[index].key
      if batch.announcements[index].state == .start {
        if let stranger = strangers.take(key, at: now.monotonic) {
          gone.append(stranger)
        } else if questions > 0 {
          // So that a daemon which takes over soon knows that the flow ends with its socket.
          questions -= 1
          if info(of: key) != nil { table.sight(key) }
        }
        continue
      }
      if let info = info(of: key) {
        if let bytes = info.bytes {
          batch.announcements[index].moved = bytes
          table.note(bytes, ofSocket: key, at: now)
        }
        if enriches { batch.announcements[index].report = TCPReport(info) }
        if hasRules, batch.announcements[index].state == .end { released.insert(key) }
      } else if batch.announcements[index].state == .end {
        ending[key] = index
      }
    }
    if hasRules {
      for announcement in batch.announcements
      where announcement.state == .end && announcement.key.transport == .udp && isThere(announcement.key) {
        released.insert(announcement.key)
      }
    }
    // A socket that closed just now may not have been told of yet.
    if !ending.isEmpty { takeEnds(at: now, enriches) }
  }

  private func endFlows(_ table: inout FlowTable, _ batch: inout ChangeBatch, _ settings: Settings) {
    for socket in gone {
      if let index = ending[socket.key] {
        batch.announcements[index].moved = socket.bytes ?? batch.announcements[index].moved
        batch.announcements[index].report = socket.report
      } else if !table.has(socket.key) {
        strangers.insert(socket)
      } else if settings.endsWithSocket || table.isFoundBySocket(socket.key) {
        // Its successor may have the same addresses and ports.
        guard !isThere(socket.key) else { continue }
        table.endWithSocket(
          socket.key, socket.bytes, report: socket.report, at: socket.time.wall, now: socket.time,
          into: &batch)
      } else {
        table.note(socket.bytes, ofSocket: socket.key, at: socket.time)
      }
    }
    gone.removeAll(keepingCapacity: true)
  }

  private func takeFacts(
    _ table: inout FlowTable, _ batch: inout ChangeBatch, _ settings: Settings, at now: Moment,
    _ start: (FlowEvent, inout FlowTable, inout ChangeBatch) -> Void
  ) {
    guard watch.facts.take(into: &facts) else { return }
    for fact in facts {
      switch fact {
      case .seen(let key, let bytes, let dump):
        released.note(key, dump: dump)
        table.note(bytes, ofSocket: key, dump: dump, at: now)
      case .matched(let key, let tag, let origin, let isNew):
        if isNew { released.remove(key) }
        guard !released.contains(key) else { continue }
        start(FlowEvent(.start, AnnouncedFlow(key, .outbound), tag, from: origin), &table, &batch)
      case .dumped(let dump, let transport, let began):
        released.finish(dump, of: transport)
        missing.removeAll(keepingCapacity: true)
        let before = table.finishDump(dump, of: transport, began: began) { missing.append($0) }
        for key in missing {
          guard settings.endsWithSocket || table.isFoundBySocket(key), !isThere(key) else { continue }
          // It went after the dump before began, and after its last sign of life.
          let seen = table.lastSeen(key).map(now.wall(at:)) ?? began.wall
          table.endWithSocket(
            key, nil, report: nil, at: max(before?.wall ?? seen, seen), now: now, into: &batch)
        }
      }
    }
  }

  /// Whether a flow's socket is there; one that closes is not.
  func isThere(_ key: FlowKey) -> Bool {
    guard key.transport == .tcp else { return ((try? query.one(key) { _ in true }) ?? nil) ?? false }
    return info(of: key) != nil
  }

  /// Whether a connection is there, though it may only be on its way.
  func isAnywhere(_ key: FlowKey) -> Bool {
    ((try? query.one(key) { $0.state != .timeWait && $0.state != .closed }) ?? nil) ?? false
  }

  /// What the kernel tells of a flow's connection; nil where it has none.
  private func info(of key: FlowKey) -> TCPInfo? {
    let answer = try? query.one(key) { $0.isConnection ? $0.tcpInfo : nil }
    return answer ?? nil
  }
}
