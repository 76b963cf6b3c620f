import Flow
import Linux
import Logging
import XDP

/// Keeps the tc path attached to the interfaces that were asked for, as they come, go and are renamed.
final class TCKeeper: PathKeeper {
  private let names: [String]
  private let tc: TCPath
  private let log: Logger
  /// Names that were asked for and are not there.
  private var missing: Set<String> = []

  /// Loads the programs and attaches them.
  init(_ names: [String], interfaces: [Interface], maxFlows: Int, hook: TCHook?, log: Logger) throws(BPFError)
  {
    self.names = names
    self.log = log
    tc = try TCPath(maxFlows: maxFlows, hook: hook)
    for interface in interfaces where names.contains(interface.name) { try attach(interface) }
  }

  var path: any MarkingPath { tc }
  var descriptor: Int32? { nil }
  var period: Int32? { nil }
  func tend(_ table: borrowing FlowTable) {}

  func interfacesChanged(_ interfaces: [Interface]) {
    let wanted = interfaces.filter { names.contains($0.name) }
    for index in tc.attachedInterfaces where !wanted.contains(where: { $0.index == index }) {
      tc.detach(fromInterface: index)
    }
    for interface in wanted where !tc.attachedInterfaces.contains(interface.index) {
      do throws(BPFError) {
        try attach(interface)
        missing.remove(interface.name)
      } catch {
        // Interfaces come and go in several steps, each a change that brings us here again.
        log.error("cannot mark", metadata: ["interface": "\(interface.name)", "error": "\(error)"])
      }
    }
    for name in names where !wanted.contains(where: { $0.name == name }) && missing.insert(name).inserted {
      log.warning("an interface is gone; marking goes on when it returns", metadata: ["interface": "\(name)"])
    }
  }

  func finish() {
    for index in tc.attachedInterfaces { tc.detach(fromInterface: index) }
  }

  private func attach(_ interface: Interface) throws(BPFError) {
    let hook = try tc.attach(to: interface)
    log.info(
      "marking", metadata: ["interface": "\(interface.name)", "path": "tc", "hook": "\(hook.rawValue)"])
  }
}
