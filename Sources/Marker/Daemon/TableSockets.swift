import Flow
import Linux
import Logging

extension TableWriter {
  /// Takes over what happened to sockets.
  func settleSockets(_ desk: inout Desk, at now: Moment) {
    guard let sockets = desk.sockets else { return }
    let local = desk.network.localAddresses
    var refused: AnnouncedFlow?
    sockets.settle(&desk.table, &desk.batch, desk.settings, at: now) { event, table, batch in
      let outcome = table.apply(event, at: now, localAddresses: local, into: &batch)
      if outcome == .refusedFull { refused = event.flow }
    }
    if let refused { tellOfFullTable(refused, &desk) }
  }

  /// Takes the connections that rules found as they began.
  func takeConnections(_ desk: inout Desk, at now: Moment) {
    // Lent out while its closure uses the rest of the desk.
    var connections = desk.connections
    let taken = connections.take(desk.sockets) { event in
      let outcome = apply(event, at: now, &desk)
      let key = FlowKey(
        local: event.flow.source, remote: event.flow.destination, transport: event.flow.transport)
      return (outcome, desk.table.flow(key)?.mark)
    }
    desk.connections = connections
    for (key, mark) in taken.remarks { desk.batch.changes.append(ChangeBatch.Change(.remark, key, mark)) }
    if let failure = taken.failure {
      log.error("an entry of a connection stays though it is no flow", metadata: ["error": "\(failure)"])
    }
    if let lost = taken.lost {
      desk.losses.report(
        log, "connections came too fast to be told of; sockets are looked for", ["since the start": "\(lost)"]
      )
    }
  }

  /// Ends flows of the mark-all tag that other settings leave alone now: their packets are to leave as they came.
  func endExcluded(_ desk: inout Desk, at now: Moment) {
    let rules = desk.settings.socketRules
    // What a rule tags now is taken over by it.
    desk.table.end(heldBy: .perfSONAR, at: now, into: &desk.batch) { rules.answer($0) == .none }
  }
}
