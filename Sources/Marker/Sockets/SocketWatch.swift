import Flow
import Linux
import Logging
import ServiceLifecycle
import Synchronization

/// What the kernel tells of this host's sockets.
enum SocketFact: Sendable {
  /// The dump of this number has this socket.
  case seen(FlowKey, SocketBytes?, dump: UInt32)
  /// The dump of a transport's sockets is complete.
  case dumped(UInt32, TransportProtocol, began: Moment)
  /// A rule gives this socket, which is there, a tag.
  case matched(FlowKey, SciTag, Origin, isNew: Bool)
}

/// Looks at this host's sockets, on a thread of its own: at all of them from time to time, because with many that takes
/// longer than the table's writer may be away; and at single ones whose rules ask for more than addresses.
final class SocketWatch: Service {
  /// What it finds, for the writer.
  let facts: BoundedQueue<SocketFact>

  /// Facts that may wait before the dump does.
  private static let queueCapacity = 4096
  /// Facts that are handed over at once.
  private static let batchSize = 512
  /// A dump is followed by a pause of at least so many times what it took, so that dumps cost half a percent of a
  /// processor at most.
  private static let idleShare: Int64 = 200
  /// However long a dump takes, the next comes after so many milliseconds.
  private static let longestPause: Int64 = 300_000
  /// Connections that may wait to be looked at; beyond that a dump finds them.
  private static let mostQuestions = 16_384

  private struct Wishes {
    var isStopped = false
    var hasFlows = false
    /// A dump is wanted as soon as may be: notifications were lost, or there are other rules.
    var isUrgent = false
    var schedule: SocketSchedule
    var questions: [FlowKey] = []
  }
  private let wishes: Mutex<Wishes>
  private let wake: EventCounter
  private let dump: SocketDump
  private let log: Logger

  init(_ schedule: SocketSchedule, log: Logger) throws(SystemError) {
    dump = try SocketDump()
    facts = try BoundedQueue(capacity: Self.queueCapacity)
    wake = try EventCounter()
    wishes = Mutex(Wishes(schedule: schedule))
    self.log = log
  }

  /// Without flows and rules there is nothing to look for.
  func setHasFlows(_ hasFlows: Bool) { wishes.withLock { $0.hasFlows = hasFlows } }

  /// Goes by other rules and periods from now on, beginning with a dump.
  func setSchedule(_ schedule: SocketSchedule) {
    wishes.withLock { $0.schedule = schedule }
    hurry()
  }

  /// Has the next dump made without waiting for its time.
  func hurry() {
    wishes.withLock { $0.isUrgent = true }
    wake.signal()
  }

  /// Looks at a connection that has begun.
  func ask(_ key: FlowKey) {
    let isFirst = wishes.withLock { wishes in
      if wishes.questions.count < Self.mostQuestions {
        wishes.questions.append(key)
      } else {
        wishes.isUrgent = true
      }
      return wishes.questions.count == 1
    }
    if isFirst { wake.signal() }
  }

  func run() async throws {
    await withGracefulShutdownHandler {
      await runOnThread(named: "sockets") { self.watch() }
    } onGracefulShutdown: {
      self.stop()
    }
    try await gracefulShutdown()
  }

  private func stop() {
    wishes.withLock { $0.isStopped = true }
    wake.signal()
    facts.close()
  }

  private func watch() {
    var round = SocketRound(wishes.withLock { $0.schedule })
    var hasFailed = false
    while true {
      let wait = round.next().microseconds(since: .now()) / 1000 + 1
      _ = wake.wait(milliseconds: Int32(clamping: max(wait, 0)))
      let now = wishes.withLock { wishes in
        defer {
          wishes.isUrgent = false
          wishes.questions.removeAll()
        }
        return wishes
      }
      if now.isStopped { return }
      round.setSchedule(now.schedule)
      if now.isUrgent { round.hurry() }
      round.ask(now.questions)
      do {
        guard try answerQuestions(&round) else { return }
        for transport in round.due() {
          guard now.hasFlows || now.schedule.hasRules else {
            round.skip(transport)
            continue
          }
          let began = Moment.now()
          guard try tell(transport, round.nextNumber(), began, &round) else { return }
          let took = MonotonicTime.now().microseconds(since: began.monotonic) / 1000
          round.finish(transport, pause: min(took * Self.idleShare, Self.longestPause))
        }
        hasFailed = false
      } catch {
        round.skip(.tcp)
        round.skip(.udp)
        if !hasFailed { log.warning("cannot look at sockets", metadata: ["error": "\(error)"]) }
        hasFailed = true
      }
    }
  }

  /// Makes one dump.
  ///
  /// - Returns: false where nobody takes its facts any more.
  private func tell(
    _ transport: TransportProtocol, _ number: UInt32, _ began: Moment, _ round: inout SocketRound
  ) throws(SystemError) -> Bool {
    var batch: ContiguousArray<SocketFact> = []
    batch.reserveCapacity(Self.batchSize)
    var isOpen = true
    var inquiry = SocketInquiry(round.schedule.rules)
    // The sockets that fireflies leave by are no flows.
    let own = transport == .udp ? ProcessSockets.own() : []
    try dump.forEach(transport) { socket in
      guard isOpen, socket.isConnection || transport == .udp, !own.contains(socket.inode) else { return }
      // One that is closing was found before, or is not worth a start.
      if socket.state.isOpen, let match = round.match(socket, &inquiry, isNew: false) {
        batch.append(match)
      }
      batch.append(.seen(socket.key, socket.bytes, dump: number))
      guard batch.count >= Self.batchSize else { return }
      isOpen = facts.add(batch)
      batch.removeAll(keepingCapacity: true)
    }
    batch.append(.dumped(number, transport, began: began))
    return isOpen && facts.add(batch)
  }

  /// Looks at single connections. One that its process has not accepted yet is looked at again.
  ///
  /// - Returns: false where nobody takes its facts any more.
  private func answerQuestions(_ round: inout SocketRound) throws(SystemError) -> Bool {
    let questions = round.takeQuestions()
    guard !questions.isEmpty else { return true }
    var batch: ContiguousArray<SocketFact> = []
    var inquiry = SocketInquiry(round.schedule.rules)
    for question in questions {
      var isUndecided = false
      _ = try dump.one(question.key) { socket in
        guard socket.isConnection, socket.state.wasEstablished else { return }
        if let match = round.match(socket, &inquiry, isNew: true) {
          batch.append(match)
        } else {
          isUndecided = socket.inode == 0
        }
      }
      if isUndecided { round.askAgain(question) }
    }
    return facts.add(batch)
  }
}
