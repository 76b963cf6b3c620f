import Flow
import Linux

/// What flows are sorted by.
enum FlowOrder: String, Sendable, CaseIterable {
  case rate, bytes, packets
  /// The youngest last.
  case age
  /// How long a flow was silent.
  case idle
  case tag
}

/// Finds the flows that are first in some order, a part of the table at a time: with a million flows all of them at once
/// would hold up the table's writer.
struct FlowSearch: Sendable {
  /// Flows that are looked at in one turn of the writer: about half a millisecond.
  static let slice = 16_384

  /// The flows found.
  struct Page: Sendable {
    var rows: ContiguousArray<(flow: Flow, path: PathKind?)> = []
    /// All flows of the table, and those that fit the filter.
    var total = 0
    var matched = 0
    var now = Moment.now()
  }

  let filter: FlowFilter
  let order: FlowOrder
  let isAscending: Bool
  let limit: Int
  let answer: @Sendable (Page) -> Void

  /// Whether a person looks, who wants to see rates change.
  var isWatched = true

  private struct Candidate {
    let value: Double
    let flow: Flow
  }
  private var position = 0
  private var matched = 0
  private var best: ContiguousArray<Candidate> = []
  /// What a candidate has to exceed once there are enough.
  private var threshold = -Double.infinity

  init(
    _ filter: FlowFilter, by order: FlowOrder, ascending: Bool = false, limit: Int,
    answer: @escaping @Sendable (Page) -> Void
  ) {
    self.filter = filter
    self.order = order
    self.isAscending = ascending
    self.limit = limit
    self.answer = answer
  }

  /// Looks at the next flows.
  ///
  /// - Returns: whether all were looked at.
  mutating func advance(in table: borrowing FlowTable) -> Bool {
    let now = MonotonicTime.now()
    let end = min(table.count, position + Self.slice)
    while position < end {
      let flow = table[position]
      position += 1
      guard filter.fits(flow) else { continue }
      matched += 1
      let value = (isAscending ? -1 : 1) * value(of: flow, now)
      if best.count >= limit, value <= threshold { continue }
      best.append(Candidate(value: value, flow: flow))
      if best.count >= 2 * limit { prune() }
    }
    return position >= table.count
  }

  private func value(of flow: Flow, _ now: MonotonicTime) -> Double {
    switch order {
    case .rate: Double(flow.rate)
    case .bytes: Double(flow.usage?.bytes ?? flow.moved?.sent ?? 0)
    case .packets: Double(flow.usage?.packets ?? 0)
    case .age: -Double(flow.start.microseconds)
    case .idle: Double(now.microseconds(since: flow.lastSeen))
    // The lowest number first.
    case .tag: -Double(flow.tag.packed)
    }
  }

  private mutating func prune() {
    best.sort { $0.value > $1.value }
    best.removeLast(max(best.count - limit, 0))
    threshold = best.last?.value ?? -.infinity
  }

  /// What was found.
  func page(in table: borrowing FlowTable, path: (Flow) -> PathKind?) -> Page {
    var page = Page()
    page.total = table.count
    page.matched = matched
    var sorted = self
    sorted.prune()
    // An end moves another flow into its place, where it may be met again.
    var seen: Set<FlowKey> = []
    for candidate in sorted.best where seen.insert(candidate.flow.key).inserted {
      page.rows.append((candidate.flow, path(candidate.flow)))
    }
    return page
  }
}
