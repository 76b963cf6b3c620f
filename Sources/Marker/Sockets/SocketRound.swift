import Flow
import Linux

/// What sockets are looked for, and how often.
struct SocketSchedule: Equatable, Sendable {
  var rules: [SocketRule] = []
  /// Between dumps of TCP's sockets, milliseconds.
  var tcpPeriod: Int64
  /// Between dumps of UDP's; nil where no rule is for them.
  var udpPeriod: Int64?

  var hasRules: Bool { !rules.isEmpty }
}

/// When the thread that looks at sockets does what. It alone uses it.
struct SocketRound {
  /// A connection to look at, and how often that was tried.
  struct Question {
    let key: FlowKey
    var attempt = 0
    var due: MonotonicTime
  }

  private(set) var schedule: SocketSchedule
  private var groups = GroupMemberships.current()
  private var questions: [Question] = []
  private var nextDump: [TransportProtocol: MonotonicTime] = [:]
  private var number: UInt32 = 0

  /// How long a process may take to accept a connection, milliseconds for each attempt; after that a dump finds it.
  private static let patience: [Int64] = [5, 20, 100, 500, 2000]

  /// Rules have sockets to find that are there already.
  init(_ schedule: SocketSchedule) {
    self.schedule = schedule
    if schedule.hasRules { hurry() } else { skip(.tcp) }
  }

  mutating func setSchedule(_ new: SocketSchedule) {
    guard new != schedule else { return }
    schedule = new
    groups = .current()
    if new.udpPeriod == nil { nextDump[.udp] = nil }
  }

  /// Both dumps are due.
  mutating func hurry() {
    nextDump[.tcp] = .now()
    if schedule.udpPeriod != nil { nextDump[.udp] = .now() }
  }

  /// When something is due.
  func next() -> MonotonicTime {
    let dump = nextDump.values.min() ?? MonotonicTime.now().advanced(milliseconds: schedule.tcpPeriod)
    return questions.map(\.due).min().map { min($0, dump) } ?? dump
  }

  /// The transports whose dump is due.
  func due() -> [TransportProtocol] {
    let now = MonotonicTime.now()
    return SocketRule.allTransports.filter { nextDump[$0].map { $0 <= now } ?? false }
  }

  /// Dumps are numbered from 1 on.
  mutating func nextNumber() -> UInt32 {
    number = (number + 1) & 0x3fff_ffff
    return number
  }

  /// - Parameter pause: the shortest until the next dump, milliseconds.
  mutating func finish(_ transport: TransportProtocol, pause: Int64) {
    let period = transport == .udp ? schedule.udpPeriod : schedule.tcpPeriod
    nextDump[transport] = period.map { MonotonicTime.now().advanced(milliseconds: max($0, pause)) }
  }

  mutating func skip(_ transport: TransportProtocol) { finish(transport, pause: 0) }

  mutating func ask(_ keys: [FlowKey]) {
    let now = MonotonicTime.now()
    for key in keys { questions.append(Question(key: key, due: now)) }
  }

  mutating func askAgain(_ question: Question) {
    guard question.attempt < Self.patience.count else { return }
    var question = question
    question.due = MonotonicTime.now().advanced(milliseconds: Self.patience[question.attempt])
    question.attempt += 1
    questions.append(question)
  }

  /// Those that are due.
  mutating func takeQuestions() -> [Question] {
    let now = MonotonicTime.now()
    let due = questions.filter { $0.due <= now }
    if !due.isEmpty { questions.removeAll { $0.due <= now } }
    return due
  }

  /// What the rules make of a socket; nil for no flow, or where that cannot be told yet.
  ///
  /// - Parameter isNew: whether it is a connection that began just now.
  mutating func match(
    _ socket: borrowing SocketDescription, _ inquiry: inout SocketInquiry, isNew: Bool
  ) -> SocketFact? {
    guard schedule.hasRules,
      case .tags(let tags, let origin) = inquiry.answer(schedule.rules, socket, &groups)
    else { return nil }
    return .matched(socket.key, tags.chosen(for: socket.key), origin, isNew: isNew)
  }
}
