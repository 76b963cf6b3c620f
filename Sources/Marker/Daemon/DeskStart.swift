import Flow
import Linux
import Logging
import XDP

extension TableWriter.Desk {
  /// Starts the paths with the flows that an earlier daemon has left: its marks are in place until theirs are.
  ///
  /// - Throws: where a path was named and does not work; then the earlier marks stay as they are.
  init(
    _ settings: Settings, network: NetworkKeeper, sockets: SocketDesk?, inheritance: Inheritance, log: Logger
  ) throws {
    do {
      try self.init(starting: settings, network, sockets, inheritance, log)
    } catch {
      inheritance.abandon(log: log)
      throw error
    }
  }

  private init(
    starting settings: Settings, _ network: NetworkKeeper, _ sockets: SocketDesk?, _ inheritance: Inheritance,
    _ log: Logger
  ) throws {
    var random = SystemRandomNumberGenerator()
    var table = FlowTable(
      policy: settings.policy(try settings.plan()), limits: settings.limits, seed: random.next(),
      keepsRecords: inheritance.memory != nil)
    table.networks = settings.inline.networks
    inheritance.enter(into: &table, log: log)
    // A copy of the marks, because the table cannot be lent to what outlives this call.
    var flows: [(FlowKey, Mark, Usage?)] = []
    table.forEachFlow { flow in
      if let mark = flow.mark { flows.append((flow.key, mark, flow.counted)) }
    }
    let marked = flows
    let heritage = PathHeritage(
      pins: inheritance.pins, isAdopted: inheritance.hadPredecessor, flows: { marked.forEach($0) })
    var start = PathStart(settings, interfaces: network.selected, heritage: heritage, log: log)
    let (plan, keepers) = try start.start()
    do {
      if table.count > 0 {
        for keeper in keepers { try keeper.takeOver(table) }
        // What the plan had to do without, nothing marks.
        var changes = ChangeBatch()
        table.setPolicy(settings.policy(plan), into: &changes)
        keepers.carry(&changes)
        table.settle(changes)
        // Sockets may have gone while nobody looked.
        sockets?.watch.setHasFlows(true)
        sockets?.watch.hurry()
      } else {
        var none = ChangeBatch()
        table.setPolicy(settings.policy(plan), into: &none)
      }
      for keeper in keepers { try keeper.path.markAll(settings.scope(plan)) }
      for keeper in keepers { keeper.applied() }
    } catch {
      if !inheritance.hadPredecessor { for keeper in keepers { keeper.finish(successors: []) } }
      throw error
    }
    // Before what was there goes: at no moment would a daemon that is killed leave nothing.
    if inheritance.memory != nil { for keeper in keepers { keeper.keepMarks() } }
    inheritance.settle(keepers, &table, log: log)
    self.init(
      table: table, keepers: keepers, network: network, sockets: sockets, settings: settings, plan: plan,
      memory: inheritance.memory, pins: inheritance.pins, isFirst: !inheritance.hadPredecessor)
  }

  /// The daemon cannot run after all: where nothing was before, nothing stays.
  func abandon() {
    guard isFirst else { return }
    for keeper in keepers { keeper.finish(successors: []) }
    try? memory?.forgetAll()
  }
}
