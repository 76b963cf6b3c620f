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
    if new.interfaces != old.interfaces, try network.setSelection(new.interfaces) {
      for keeper in keepers { keeper.interfacesChanged(network.selected) }
    }
    // Into a batch of its own: new paths are given the whole table instead.
    var changes = ChangeBatch()
    table.setPolicy(new.policy, into: &changes)
    if new.needsOtherPaths(than: old) {
      do {
        try replacePaths(new, log)
      } catch {
        var undone = ChangeBatch()
        table.setPolicy(old.policy, into: &undone)
        if new.interfaces != old.interfaces, try network.setSelection(old.interfaces) {
          for keeper in keepers { keeper.interfacesChanged(network.selected) }
        }
        throw error
      }
    } else {
      for keeper in keepers { keeper.path.apply(&changes) }
    }
    table.setLimits(new.limits)
    settings = new
  }

  private mutating func replacePaths(_ new: Settings, _ log: Logger) throws {
    let selection = PathSelection(settings: new, interfaces: network.selected, log: log)
    let successor = try selection.keeper { body in
      table.forEachFlow { flow in
        if let mark = flow.mark { body(flow.key, mark, flow.usage) }
      }
    }
    do {
      try successor.takeOver(table)
    } catch {
      successor.finish(successors: keepers)
      throw error
    }
    for keeper in keepers { keeper.finish(successors: [successor]) }
    keepers = [successor]
  }
}

extension Settings {
  /// Whether paths have to be made anew; the rest can be changed in those that are there.
  func needsOtherPaths(than old: Settings) -> Bool {
    strategy != old.strategy || path != old.path || tcHook != old.tcHook
      || limits.maxFlows != old.limits.maxFlows
  }
}
