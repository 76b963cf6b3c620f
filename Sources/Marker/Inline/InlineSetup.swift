import Flow
import Linux
import XDP

/// Puts two ports into a bridge, so that traffic passes whether marker runs or not.
struct InlineSetup {
  let inside: String
  let outside: String
  /// The bridge to make where neither port is in one.
  let bridge: String

  /// What has to be done, and what takes each back; nothing has been done yet.
  ///
  /// - Throws: what is in the way.
  func steps() throws -> [(step: InlineStep, undo: InlineStep?)] {
    let details = try InterfaceDetails.all()
    let addressed = Set(try LocalAddress.all().filter { !$0.address.isLinkLocal }.map(\.interface))
    func port(_ name: String) throws(InlineError) -> InterfaceDetails {
      guard let found = details.first(where: { $0.interface.name == name }) else { throw .missing(name) }
      guard !addressed.contains(found.interface.index) else { throw .hasAddress(name) }
      return found
    }
    guard inside != outside else { throw InlineError.sameDevice(inside) }
    let ports = [try port(inside), try port(outside)]
    let masters = ports.map { port in details.first { $0.interface.index == port.interface.master }?.interface
    }
    for (port, master) in zip(ports, masters) {
      if let master, master.kind != "bridge" {
        throw InlineSetupError.owned(port.interface.name, by: master.name)
      }
    }
    if let one = masters[0], let other = masters[1], one.index != other.index {
      throw InlineSetupError.twoBridges(inside, one.name, outside, other.name)
    }
    var steps: [(InlineStep, InlineStep?)] = []
    let present = masters.compactMap(\.self).first?.name
    let name = present ?? bridge
    if present == nil {
      if details.contains(where: { $0.interface.name == name }) { throw InlineSetupError.taken(name) }
      steps.append((.link(.addBridge(name: name)), .link(.delete(name: name))))
    }
    for (port, master) in zip(ports, masters) {
      let device = port.interface.name
      // The host itself is not to speak there, nor to take an address by itself.
      if let old = InlineStep.ipv6IsOff(device), old != "1" {
        steps.append((.sysctl(device: device, value: "1"), .sysctl(device: device, value: old)))
      }
      if master == nil {
        steps.append((.link(.join(name: device, bridge: name)), .link(.leave(name: device))))
      }
      if !port.isUp { steps.append((.link(.setUp(name: device)), .link(.setDown(name: device)))) }
    }
    if present == nil {
      steps.append((.sysctl(device: name, value: "1"), nil))
      steps.append((.link(.setUp(name: name)), nil))
    }
    return steps
  }

  /// Does it, and undoes what was done where a step fails.
  ///
  /// - Parameter tell: called with each command that does the same by hand.
  func apply(_ record: InlineRecord, tell: (String) -> Void) throws {
    let steps = try steps()
    try record.add("# inside \(inside) outside \(outside)")
    for (step, undo) in steps {
      if case .sysctl(let device, _) = step, InlineStep.ipv6IsOff(device) == nil { continue }
      do {
        if let undo { try record.add(undo.line) }
        try step.apply()
      } catch {
        Self.undo(record) { _ in }
        throw error
      }
      tell(step.command)
    }
  }

  /// Takes back what the record has, the last first. What is gone already needs nothing.
  static func undo(_ record: InlineRecord, tell: (String) -> Void) {
    for step in record.lines().reversed().compactMap({ InlineStep(line: $0) }) {
      do throws(SystemError) {
        try step.apply()
        tell(step.command)
      } catch {
        tell("# \(step.command): \(error)")
      }
    }
    record.remove()
  }

  /// The host's end of a veth pair whose other end is in a named network namespace.
  static func port(ofNamespace name: String) throws -> String {
    guard let id = try NamespaceSearch.id(ofNamed: name) else { throw InlineSetupError.noVeth(name, []) }
    let ends = try Interface.all().filter { $0.kind == "veth" && $0.lowerNamespace == id }.map(\.name)
    guard ends.count == 1 else { throw InlineSetupError.noVeth(name, ends) }
    return ends[0]
  }
}

/// Why two ports cannot be joined.
enum InlineSetupError: Error {
  case owned(String, by: String)
  case twoBridges(String, String, String, String)
  case taken(String)
  case noVeth(String, [String])
}

extension InlineSetupError: CustomStringConvertible {
  var description: String {
    switch self {
    case .owned(let port, let master): "\(port) is a port of \(master), which is no bridge"
    case .twoBridges(let inside, let one, let outside, let other):
      "\(inside) is in bridge \(one) and \(outside) in \(other): they are to be ports of one bridge"
    case .taken(let name): "there is a device \(name) already: name another with --bridge"
    case .noVeth(let name, let ends):
      ends.isEmpty
        ? "no veth of this namespace has its other end in \(name): `ip link add NAME type veth peer name NAME netns \(name)`"
        : "\(ends.joined(separator: " and ")) have their other ends in \(name): name one with --inside"
    }
  }
}
