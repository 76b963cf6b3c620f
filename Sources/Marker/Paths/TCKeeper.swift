import Flow
import Linux
import Logging
import XDP

/// Keeps the tc path attached to the interfaces that are selected.
final class TCKeeper: PathKeeper {
  private let tc: TCPath
  private let log: Logger

  /// Loads the programs and attaches them.
  init(_ selected: [Interface], maxFlows: Int, hook: TCHook?, log: Logger) throws(BPFError) {
    self.log = log
    tc = try TCPath(maxFlows: maxFlows, hook: hook)
    for interface in selected { try attach(interface) }
  }

  var path: any MarkingPath { tc }
  var descriptor: Int32? { nil }
  var period: Int32? { nil }
  func tend(_ table: borrowing FlowTable) {}

  func interfacesChanged(_ selected: [Interface]) {
    for index in tc.attachedInterfaces where !selected.contains(where: { $0.index == index }) {
      tc.detach(fromInterface: index)
    }
    for interface in selected where !tc.attachedInterfaces.contains(interface.index) {
      do throws(BPFError) {
        try attach(interface)
      } catch {
        log.error("cannot mark", metadata: ["interface": "\(interface.name)", "error": "\(error)"])
      }
    }
  }

  func takeOver(_ table: borrowing FlowTable) throws(PathError) {
    try tc.takeOver { body in
      table.forEachFlow { flow in
        if let mark = flow.mark { body(flow.key, mark, flow.usage) }
      }
    }
  }

  func finish(successors: [any PathKeeper]) {
    for index in tc.attachedInterfaces { tc.detach(fromInterface: index) }
  }

  private func attach(_ interface: Interface) throws(BPFError) {
    let hook = try tc.attach(to: interface)
    log.info(
      "marking", metadata: ["interface": "\(interface.name)", "path": "tc", "hook": "\(hook.rawValue)"])
  }
}
