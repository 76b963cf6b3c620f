import Flow
import Linux
import Logging
import XDP

/// Knows this host's addresses, and which of its interfaces are to be marked on, as they change.
final class NetworkKeeper {
  private var selection: InterfaceSelection
  private var monitor: NetworkMonitor
  private let log: Logger
  private(set) var localAddresses: Set<Address> = []
  private var chosen = InterfaceSelection.Result()
  private var facts = InterfaceSelection.Facts()
  /// Indexes of interfaces that went away before the last `update`.
  private(set) var gone: Set<UInt32> = []

  init(_ selection: InterfaceSelection, log: Logger) throws {
    self.selection = selection
    self.log = log
    // Before the first look, so that nothing happens unseen between the two.
    monitor = try NetworkMonitor(watchesRoutes: selection.discovery == .defaultRoute)
    let interfaces = try Interface.all()
    tellOfMissing(interfaces)
    try lookAtAddresses()
    try lookAtRoutes()
    choose(among: interfaces)
    if chosen.selected.isEmpty, !selection.isEmpty {
      log.warning("no interface is selected yet; marking begins when one comes", metadata: metadata)
    }
  }

  /// Selects others from now on.
  ///
  /// - Returns: whether other interfaces are selected than before.
  func setSelection(_ new: InterfaceSelection) throws -> Bool {
    let interfaces = try Interface.all()
    if selection.discovery != new.discovery {
      monitor = try NetworkMonitor(watchesRoutes: new.discovery == .defaultRoute)
    }
    selection = new
    tellOfMissing(interfaces)
    try lookAtRoutes()
    return choose(among: interfaces)
  }

  /// An interface may come later; a name may also be a mistake.
  private func tellOfMissing(_ interfaces: [Interface]) {
    let present = interfaces.map(\.name)
    for name in selection.exactNames where !present.contains(name) {
      let near = Nearest.of(name, in: present).map { "; did you mean \($0)?" } ?? ""
      log.warning(
        "an interface is not here; marking on it begins when it comes\(near)",
        metadata: ["interface": "\(name)"])
    }
  }

  /// The interfaces to mark on.
  var selected: [Interface] { chosen.selected }

  /// Readable when something has changed.
  var descriptor: Int32 { monitor.descriptor }

  /// Looks at what has changed; what cannot be seen is logged and looked at with the next change.
  ///
  /// - Returns: whether other interfaces are selected than before.
  func update() -> Bool {
    do throws(SystemError) {
      let changes = try monitor.changes()
      guard changes.links || changes.addresses || changes.routes else { return false }
      if changes.addresses { try lookAtAddresses() }
      if changes.routes { try lookAtRoutes() }
      gone = changes.gone
      let isOther = choose(among: try Interface.all())
      return isOther || chosen.selected.contains { gone.contains($0.index) }
    } catch {
      log.error("cannot look at the network interfaces", metadata: ["error": "\(error)"])
      return false
    }
  }

  @discardableResult
  private func choose(among interfaces: [Interface]) -> Bool {
    let before = chosen
    chosen = selection.select(among: interfaces, facts)
    guard chosen != before else { return false }
    for cover in chosen.covered where !before.covered.contains(where: { $0 == cover }) {
      log.info(
        "an interface is not marked on itself: its packets pass another that is",
        metadata: ["interface": "\(cover.interface.name)", "passes": "\(cover.by.name)"])
    }
    for gone in before.selected where !chosen.selected.contains(where: { $0.name == gone.name }) {
      log.warning(
        "an interface is gone; marking goes on when it returns", metadata: ["interface": "\(gone.name)"])
    }
    return chosen.selected != before.selected
  }

  private func lookAtAddresses() throws(SystemError) {
    let addresses = try LocalAddress.all()
    localAddresses = Set(addresses.map(\.address))
    facts.withGlobalAddress = Set(addresses.filter(\.isGlobal).map(\.interface))
  }

  private func lookAtRoutes() throws(SystemError) {
    guard selection.discovery == .defaultRoute else { return }
    facts.onDefaultRoute = try DefaultRoutes.interfaces()
  }

  private var metadata: Logger.Metadata {
    [
      "names": "\(selection.names.joined(separator: " "))",
      "discovery": "\(selection.discovery?.rawValue ?? "none")",
    ]
  }
}
