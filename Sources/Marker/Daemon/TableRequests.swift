import Flow
import Linux
import Synchronization
import XDP

/// What became of one event, and the flow as it is afterwards.
struct FlowAnswer: Sendable {
  let outcome: FlowTable.Outcome
  /// Nil where there is no such flow, any more or at all.
  let flow: Flow?
}

/// Which flows are to be listed.
struct FlowQuery: Equatable, Sendable {
  /// Flows of this experiment only.
  var experiment: UInt16?
  var activity: UInt8?
  /// The most flows in the answer.
  var limit = 1000
  /// Where to go on, as the answer before said.
  var from = 0
}

/// Some of the table's flows.
struct FlowPage: Sendable {
  var flows: ContiguousArray<Flow> = []
  /// All flows, those that do not fit the query too.
  var total = 0
  /// Where the next page begins; nil after the last. Flows that end meanwhile may move others before it.
  var next: Int?
}

/// How the table and its paths fare.
struct TableStatus: Sendable {
  /// A path, the families that it marks, and how.
  struct Path: Sendable {
    let kind: PathKind
    let families: AddressFamilies
  }
  /// One family on one interface.
  struct Place: Sendable {
    /// Empty where no interface is the reason.
    let interface: String
    let isIPv4: Bool
    /// Nil where no path marks it.
    let path: PathKind?
    let stamp: Stamp
    let marks: Bool
    let words: String
  }
  let flows: Int
  let counters: FlowTable.Counters
  let totals: TagTotals
  let settings: Settings
  let plan: Plan
  let paths: [Path]
  let interfaces: [String]
  let places: [Place]
  let tallies: [PathTallies.Sum]
  /// What the mark-all scope has stamped.
  let scope: Usage
}

/// What happened on the paths, also on those that others have replaced.
struct PathTallies: Sendable {
  struct Sum: Sendable {
    let path: PathKind
    let event: String
    var count: UInt64
  }
  private var past: [Sum] = []
  private var pastScope = Usage()

  /// Keeps what paths have counted that go.
  mutating func keep(_ keepers: [any PathKeeper]) {
    (past, pastScope) = (sums(with: keepers), scope(with: keepers))
  }

  /// With those that are there.
  func sums(with keepers: [any PathKeeper]) -> [Sum] {
    var sums = past
    for keeper in keepers {
      for (event, count) in keeper.tallies {
        if let place = sums.firstIndex(where: { $0.path == keeper.path.kind && $0.event == event }) {
          sums[place].count += count
        } else {
          sums.append(Sum(path: keeper.path.kind, event: event, count: count))
        }
      }
    }
    return sums
  }

  func scope(with keepers: [any PathKeeper]) -> Usage {
    var usage = pastScope
    for case let keeper as TCKeeper in keepers {
      usage.packets += keeper.tc.scopeUsage.packets
      usage.bytes += keeper.tc.scopeUsage.bytes
    }
    return usage
  }
}

/// Something that is asked of the table's writer. The answer comes on the writer's thread, which must not be held up.
enum TableRequest: Sendable {
  /// Answered when the kernel has what the events change, in their order.
  case apply(ContiguousArray<FlowEvent>, answer: @Sendable (ContiguousArray<FlowAnswer>) -> Void)
  case find(AnnouncedFlow, answer: @Sendable (Flow?) -> Void)
  case list(FlowQuery, answer: @Sendable (FlowPage) -> Void)
  /// - Parameter counts: once the paths' counters have been read, unless that was a moment ago.
  case status(counts: Bool, answer: @Sendable (TableStatus) -> Void)
  /// The flows that are first in some order.
  case top(FlowSearch)
}

/// Where requests wait for the writer, so many at the most.
final class TableRequests: Sendable {
  /// Events in requests that wait; a request that comes to fewer is taken, however many it has.
  private static let capacity = 65_536

  private struct State {
    var waiting: ContiguousArray<TableRequest> = []
    var events = 0
    var isClosed = false
  }
  private let state = Mutex(State())
  private let signal: EventCounter

  init() throws(SystemError) { signal = try EventCounter() }

  /// Readable while something waits.
  var descriptor: Int32 { signal.descriptor }

  /// Leaves a request for the writer.
  ///
  /// - Returns: false where too much waits already, or the writer has ended; there will be no answer.
  func offer(_ request: TableRequest) -> Bool {
    let weight = if case .apply(let events, _) = request { events.count } else { 1 }
    let (isTaken, isFirst) = state.withLock { state in
      guard !state.isClosed, state.events < Self.capacity else { return (false, false) }
      state.waiting.append(request)
      state.events += weight
      return (true, state.waiting.count == 1)
    }
    if isFirst { signal.signal() }
    return isTaken
  }

  /// Takes all that waits in exchange for an empty buffer.
  func take(into buffer: inout ContiguousArray<TableRequest>) {
    buffer.removeAll(keepingCapacity: true)
    signal.clear()
    state.withLock { state in
      swap(&state.waiting, &buffer)
      state.events = 0
    }
  }

  /// Takes nothing any more; what waits is dropped with its answers, since whoever waits for them ends too.
  func close() {
    state.withLock { state in
      state.isClosed = true
      state.waiting.removeAll()
    }
  }
}
