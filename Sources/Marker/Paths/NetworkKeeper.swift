import Flow
import Linux
import Logging
import XDP

/// Knows this host's interfaces and addresses, as they change.
final class NetworkKeeper {
  private let monitor: NetworkMonitor
  private let log: Logger
  private(set) var interfaces: [Interface]
  private(set) var localAddresses: Set<Address>

  /// - Parameter required: names of interfaces that must be there.
  init(required: [String], log: Logger) throws {
    // Before the first look, so that nothing happens unseen between the two.
    monitor = try NetworkMonitor()
    interfaces = try Interface.all()
    localAddresses = try LocalAddresses.all()
    self.log = log
    for name in required where !interfaces.contains(where: { $0.name == name }) {
      throw BPFError.noSuchInterface(name)
    }
  }

  /// Readable when interfaces or addresses have changed.
  var descriptor: Int32 { monitor.descriptor }

  /// Looks at what has changed; what cannot be seen is logged and looked at with the next change.
  ///
  /// - Returns: whether the interfaces are others than before.
  func update() -> Bool {
    do throws(SystemError) {
      let changes = try monitor.changes()
      if changes.addresses { localAddresses = try LocalAddresses.all() }
      guard changes.links else { return false }
      interfaces = try Interface.all()
      return true
    } catch {
      log.error("cannot look at the network interfaces", metadata: ["error": "\(error)"])
      return false
    }
  }
}
