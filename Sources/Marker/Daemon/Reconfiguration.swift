import Flow
import Linux
import Logging
import Synchronization

/// Settings that are to be taken over by the table's writer, and its answer.
final class Reconfiguration: Sendable {
  let settings: Settings
  private let continuation: CheckedContinuation<Result<Void, any Error>, Never>

  init(_ settings: Settings, _ continuation: CheckedContinuation<Result<Void, any Error>, Never>) {
    self.settings = settings
    self.continuation = continuation
  }

  func answer(_ result: Result<Void, any Error>) { continuation.resume(returning: result) }
}

/// Where reconfigurations wait for the writer.
final class ReconfigurationBox: Sendable {
  private struct State {
    var waiting: [Reconfiguration] = []
    var isClosed = false
  }
  private let state = Mutex(State())
  private let signal: EventCounter

  init() throws(SystemError) { signal = try EventCounter() }

  /// Readable while something waits.
  var descriptor: Int32 { signal.descriptor }

  /// Has the writer take over settings; returns when it has.
  func put(_ settings: Settings) async throws {
    let result = await withCheckedContinuation { continuation in
      let isClosed = state.withLock { state in
        if !state.isClosed { state.waiting.append(Reconfiguration(settings, continuation)) }
        return state.isClosed
      }
      if isClosed { continuation.resume(returning: .failure(CancellationError())) } else { signal.signal() }
    }
    try result.get()
  }

  func take() -> [Reconfiguration] {
    signal.clear()
    return state.withLock { state in
      defer { state.waiting.removeAll() }
      return state.waiting
    }
  }

  /// Refuses what waits and what comes: the writer ends.
  func close() {
    let waiting = state.withLock { state in
      state.isClosed = true
      defer { state.waiting.removeAll() }
      return state.waiting
    }
    for request in waiting { request.answer(.failure(CancellationError())) }
  }
}

extension TableWriter.Desk {
  /// Takes over other settings, so that no packet of a tagged flow leaves unmarked meanwhile: what replaces a path marks
  /// all flows before the old one stops.
  ///
  /// - Throws: what could not be had; then all stays as it was.
  mutating func reconfigure(_ new: Settings, log: Logger) throws {
    let old = settings
    if new.interfaces != old.interfaces { try select(new.interfaces) }
    do {
      if new.needsOtherPaths(than: old) {
        try replacePaths(new, log)
      } else {
        apply(new.policy(plan))
        for keeper in keepers { try keeper.path.markAll(new.scope(plan)) }
        for keeper in keepers { keeper.applied() }
      }
    } catch {
      if !new.needsOtherPaths(than: old) { apply(old.policy(plan)) }
      if new.interfaces != old.interfaces { try select(old.interfaces) }
      throw error
    }
    table.setLimits(new.limits)
    do throws(MemoryError) { try memory?.makeRoom(for: new.limits.maxFlows) } catch {
      log.warning(
        "flows beyond the old limit will not be known after a restart", metadata: ["error": "\(error)"])
    }
    table.networks = new.inline.networks
    if new.keepsMarks, !old.keepsMarks, memory == nil {
      log.notice("restart.keep takes effect with the next start")
    }
    settings = new
  }

  private mutating func select(_ interfaces: InterfaceSelection) throws {
    guard try network.setSelection(interfaces) else { return }
    for keeper in keepers { keeper.interfacesChanged(network.selected, gone: []) }
  }

  /// Changes the marks of the flows that are there.
  private mutating func apply(_ policy: MarkPolicy) {
    var changes = ChangeBatch()
    table.setPolicy(policy, into: &changes)
    keepers.carry(&changes)
    table.settle(changes)
  }

  private mutating func replacePaths(_ new: Settings, _ log: Logger) throws {
    let oldPolicy = settings.policy(plan)
    // New paths are given the whole table, with the marks that they are to have.
    var superseded = ChangeBatch()
    table.setPolicy(new.policy(try new.plan()), into: &superseded)
    do {
      // A copy of the marks, because the table cannot be lent to what outlives this call.
      var flows: [(FlowKey, Mark, Usage?)] = []
      table.forEachFlow { flow in
        if let mark = flow.mark { flows.append((flow.key, mark, flow.counted)) }
      }
      let marked = flows
      let heritage = PathHeritage(pins: pins, flows: { marked.forEach($0) })
      var start = PathStart(
        new, interfaces: network.selected, heritage: heritage, predecessors: keepers, log: log)
      let (newPlan, successors) = try start.start()
      // A complement first: what it completes looks for sockets by its table.
      for successor in successors.reversed() {
        try successor.takeOver(table)
        try successor.path.markAll(new.scope(newPlan))
      }
      let predecessors = keepers
      tallies.keep(predecessors)
      keepers = successors
      plan = newPlan
      // What the plan had to do without, nothing marks.
      apply(new.policy(newPlan))
      // Before the old ones go: at no moment would a daemon that is killed leave nothing.
      if new.keepsMarks, memory != nil { for keeper in keepers { keeper.keepMarks() } }
      for keeper in predecessors { keeper.finish(successors: successors) }
    } catch {
      // The old paths were not told of the other marks.
      table.setPolicy(oldPolicy, into: &superseded)
      throw error
    }
  }
}

extension Settings {
  /// Whether paths have to be made anew; the rest can be changed in those that are there.
  func needsOtherPaths(than old: Settings) -> Bool {
    strategy != old.strategy || dscpOnIPv6 != old.dscpOnIPv6 || path != old.path || tcHook != old.tcHook
      || tcOrder != old.tcOrder
      || sockets.group != old.sockets.group || limits.maxFlows != old.limits.maxFlows
      || interfaces.isEmpty != old.interfaces.isEmpty
      || inline.isOn != old.inline.isOn || inline.inside != old.inline.inside
      || inline.outside != old.inline.outside || inline.engine != old.inline.engine
  }
}
