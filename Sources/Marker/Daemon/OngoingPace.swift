import Flow

/// When how many flows are to be announced as ongoing, so that all of them have their turn once a period and never many
/// at once.
struct OngoingPace {
  /// The shortest pause, so that very many flows do not keep the writer awake. Milliseconds.
  private static let shortestPause: Int64 = 50

  private var last: MonotonicTime
  /// What is due, in flows.
  private var owed = 0.0

  init(at now: MonotonicTime) { last = now }

  /// How many of the flows are due now.
  ///
  /// - Parameter period: microseconds; nil for never.
  mutating func due(of flows: Int, period: Int64?, at now: MonotonicTime) -> Int {
    defer { last = now }
    guard let period, period > 0, flows > 0 else {
      owed = 0
      return 0
    }
    owed = min(owed + Double(flows) * Double(now.microseconds(since: last)) / Double(period), Double(flows))
    let due = Int(owed)
    owed -= Double(due)
    return due
  }

  /// When the next flow is due; nil for never.
  func next(of flows: Int, period: Int64?) -> MonotonicTime? {
    guard let period, period > 0, flows > 0 else { return nil }
    let pause = Int64(max(0, 1 - owed) * Double(period) / Double(flows) / 1000)
    return last.advanced(milliseconds: max(pause + 1, Self.shortestPause))
  }
}
