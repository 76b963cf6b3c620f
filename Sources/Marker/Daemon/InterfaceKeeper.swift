import Flow
import Linux
import Logging
import XDP

/// Keeps the tc path attached to the interfaces that were asked for, as they come, go and are renamed, and knows
/// this host's addresses.
final class InterfaceKeeper {
  private let names: [String]
  private let path: TCPath
  private let monitor: NetworkMonitor
  private let log: Logger
  private(set) var localAddresses: Set<Address>
  /// Names that were asked for and are not attached.
  private var missing: Set<String> = []

  /// Attaches to all of them.
  ///
  /// - Throws: where one of the names is not there, or does not take the program.
  init(_ names: [String], path: TCPath, log: Logger) throws {
    self.names = names
    self.path = path
    self.log = log
    // Before the first look, so that nothing happens unseen between the two.
    monitor = try NetworkMonitor()
    localAddresses = try LocalAddresses.all()
    let interfaces = try Interface.all()
    for name in names {
      guard let interface = interfaces.first(where: { $0.name == name }) else {
        throw BPFError.noSuchInterface(name)
      }
      let hook = try path.attach(to: interface)
      log.info("marking", metadata: ["interface": "\(name)", "path": "tc", "hook": "\(hook.rawValue)"])
    }
  }

  /// Readable when interfaces or addresses have changed.
  var descriptor: Int32 { monitor.descriptor }

  /// Looks at what has changed. What cannot be done is logged and tried again with the next change.
  func update() {
    do {
      let changes = try monitor.changes()
      if changes.addresses { localAddresses = try LocalAddresses.all() }
      if changes.links { reconcile(try Interface.all()) }
    } catch {
      log.error("cannot look at the network interfaces", metadata: ["error": "\(error)"])
    }
  }

  private func reconcile(_ interfaces: [Interface]) {
    let wanted = interfaces.filter { names.contains($0.name) }
    for index in path.attachedInterfaces where !wanted.contains(where: { $0.index == index }) {
      path.detach(fromInterface: index)
    }
    for interface in wanted where !path.attachedInterfaces.contains(interface.index) {
      do {
        let hook = try path.attach(to: interface)
        missing.remove(interface.name)
        log.info(
          "marking", metadata: ["interface": "\(interface.name)", "path": "tc", "hook": "\(hook.rawValue)"])
      } catch {
        // Interfaces come and go in several steps, each a change that brings us here again.
        log.error("cannot mark", metadata: ["interface": "\(interface.name)", "error": "\(error)"])
      }
    }
    for name in names where !wanted.contains(where: { $0.name == name }) && missing.insert(name).inserted {
      log.warning("an interface is gone; marking goes on when it returns", metadata: ["interface": "\(name)"])
    }
  }
}
