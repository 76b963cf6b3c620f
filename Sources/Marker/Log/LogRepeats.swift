import Flow
import Linux
import Logging

/// Keeps repeats out of the log: of one message so many in a period, then a count of the rest.
struct LogRepeats {
  /// Microseconds.
  static let period: Int64 = 10_000_000
  /// Messages that are told apart; further ones are let through.
  private static let capacity = 1000

  /// Messages that were kept out.
  struct Suppressed: Equatable {
    let level: Logger.Level
    let message: String
    let count: Int
  }

  private struct Key: Hashable {
    let level: Logger.Level
    let message: String
  }
  private struct Entry {
    let since: MonotonicTime
    var logged = 0
    var suppressed = 0
  }
  private var entries: [Key: Entry] = [:]
  private var nextLook: MonotonicTime

  init(at now: MonotonicTime) { nextLook = now.advanced(milliseconds: Self.period / 1000) }

  /// Debugging wants all; a start has many lines that differ in their values only.
  static func share(of level: Logger.Level) -> Int {
    switch level {
    case .trace, .debug: .max
    case .info, .notice: 200
    case .warning, .error, .critical: 20
    }
  }

  /// Whether a message is to be logged.
  mutating func admit(_ level: Logger.Level, _ message: String, at now: MonotonicTime) -> Bool {
    let share = Self.share(of: level)
    guard share < .max else { return true }
    let key = Key(level: level, message: message)
    if entries[key] == nil {
      guard entries.count < Self.capacity else { return true }
      entries[key] = Entry(since: now)
    }
    guard entries[key]?.logged ?? 0 < share else {
      entries[key]?.suppressed += 1
      return false
    }
    entries[key]?.logged += 1
    return true
  }

  /// What was kept out in periods that are over.
  ///
  /// - Parameter all: those that go on too.
  mutating func settle(at now: MonotonicTime, all: Bool = false) -> [Suppressed] {
    guard all || nextLook <= now else { return [] }
    nextLook = now.advanced(milliseconds: 1000)
    let over = entries.filter { all || now.microseconds(since: $0.value.since) >= Self.period }
    for key in over.keys { entries[key] = nil }
    return over.filter { $0.value.suppressed > 0 }.map {
      Suppressed(level: $0.key.level, message: $0.key.message, count: $0.value.suppressed)
    }.sorted { $0.message < $1.message }
  }
}
