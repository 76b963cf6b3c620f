import Flow
import Linux
import Logging
import NFT

/// Keeps the nft path's table in place: puts it back when somebody flushes the ruleset, and has it serve the packet
/// marks that others set.
final class NFTKeeper: PathKeeper {
  private let nft: NFTPath
  private let watch: NFTWatch
  private let log: Logger
  /// The families whose flows the table was made with.
  private let firstFamilies: AddressFamilies

  /// - Parameters:
  ///   - flows, scope: marked from the beginning, as far as they are of the families.
  init(
    _ selected: [Interface], families: AddressFamilies, maxFlows: Int, flows: NFTPath.Flows,
    scope: ScopeMarks?, log: Logger
  ) throws {
    var random = SystemRandomNumberGenerator()
    firstFamilies = families
    nft = try NFTPath(
      interfaces: selected.map(\.name), families: families, flowLimit: UInt32(maxFlows), seed: random.next(),
      scope: scope, flows: flows)
    watch = try NFTWatch(for: nft)
    self.log = log
    report(selected)
  }

  var path: any MarkingPath { nft }
  var descriptor: Int32? { watch.descriptor }
  /// Packets with a packet mark that was never seen before are served a period later.
  var period: Int32? { 1000 }

  func tend(_ table: borrowing FlowTable) {
    do {
      switch try watch.check() {
      case .nothing: if nft.isLost { try restore(table, by: nil) }
      case .harmed(let changer): try restore(table, by: changer)
      case .missed:
        let isThere = try nft.isThere()
        if nft.isLost || !isThere { try restore(table, by: nil) }
      }
      if table.count > 0, try nft.learnPacketMarks() > 0, nft.packetMarksExceedLimit {
        log.warning("more packet marks are in use here than can be kept; packets with others pass unmarked")
      }
    } catch {
      log.error("cannot keep the nft table", metadata: ["error": "\(error)"])
    }
  }

  var tallies: [(event: String, count: UInt64)] { [("rules_restored", UInt64(nft.restorations))] }

  func interfacesChanged(_ selected: [Interface], gone: Set<UInt32>) {
    do throws(PathError) {
      try nft.setInterfaces(selected.map(\.name))
      report(selected)
    } catch {
      log.error("cannot change the interfaces in the nft table", metadata: ["error": "\(error)"])
    }
  }

  /// The table was made with the flows in it, in place of one that was there; only families that have come since are
  /// missing.
  func takeOver(_ table: borrowing FlowTable) throws(PathError) {
    if nft.families != firstFamilies { try install(table) }
  }

  func leaveMarks(for seconds: Int) {
    let now = WallClockTime.now()
    do throws(PathError) {
      try nft.leaveMarks(until: WallClockTime(microseconds: now.microseconds + Int64(seconds) * 1_000_000))
    } catch {
      log.notice(
        "marks by nft stay until the next start or `marker clean`, also beyond restart.graceTime",
        metadata: ["reason": "\(error)"])
    }
  }

  func finish(successors: [any PathKeeper]) {
    // The table is the successor's now.
    if successors.contains(where: { $0.path.kind == .nft }) { return }
    do throws(PathError) {
      try nft.detach()
    } catch {
      log.error(
        "the nft table stays; `nft delete table inet marker` removes it", metadata: ["error": "\(error)"])
    }
  }

  private func report(_ selected: [Interface]) {
    for interface in selected {
      log.info(
        "marking", metadata: ["interface": "\(interface.name)", "path": "nft", "table": "inet marker"])
    }
  }

  private func install(_ table: borrowing FlowTable) throws(PathError) {
    try nft.restore { body in
      table.forEachFlow { flow in
        if let mark = flow.mark { body(flow.key, mark, flow.counted) }
      }
    }
  }

  private func restore(_ table: borrowing FlowTable, by changer: NFTWatch.Changer?) throws(PathError) {
    try install(table)
    log.warning(
      "somebody removed our nft rules; they are back",
      metadata: [
        "by": "\(changer?.description ?? "unknown")", "flows": "\(table.count)",
        "times": "\(nft.restorations)",
      ])
  }
}
