import Linux

/// Which interfaces are to be marked on, as the operator says it.
struct InterfaceSelection: Equatable, Sendable {
  /// How interfaces are found without naming them.
  enum Discovery: String, Sendable, CaseIterable {
    /// Those that a default route leads through.
    case defaultRoute
    /// Those with an address that is valid everywhere.
    case globalAddress
  }

  /// Names, or patterns in which `*` stands for any text and `?` for one character.
  var names: [String] = []
  var discovery: Discovery?

  var isEmpty: Bool { names.isEmpty && discovery == nil }

  /// The names that must be there: those without a pattern.
  var exactNames: [String] { names.filter { !Self.isPattern($0) } }

  /// What is known of the host beside its interfaces; indexes of interfaces.
  struct Facts: Equatable, Sendable {
    var onDefaultRoute: Set<UInt32> = []
    var withGlobalAddress: Set<UInt32> = []
  }

  /// What was selected, and what was left out although it was asked for.
  struct Result: Equatable, Sendable {
    /// Where packets are to be marked: each packet passes one of them.
    var selected: [Interface] = []
    /// Left out, with the interface that sees its packets.
    var covered: [(interface: Interface, by: Interface)] = []

    static func == (left: Result, right: Result) -> Bool {
      left.selected == right.selected && left.covered.elementsEqual(right.covered) { $0 == $1 }
    }
  }

  /// Selects among the host's interfaces, so that no packet is marked and counted twice: a bond stands for its ports,
  /// and the interface below for the VLANs on it.
  func select(among interfaces: [Interface], _ facts: Facts) -> Result {
    let wanted = interfaces.filter { wants($0, facts) }
    var result = Result()
    for interface in wanted {
      let cover = wanted.first { other in
        interface.master == other.index && other.isBond
          || interface.isStacked && interface.lower == other.index
      }
      if let cover {
        result.covered.append((interface, cover))
      } else {
        result.selected.append(interface)
      }
    }
    return result
  }

  private func wants(_ interface: Interface, _ facts: Facts) -> Bool {
    if names.contains(where: { Self.matches($0, interface.name) }) { return true }
    switch discovery {
    case .defaultRoute: return facts.onDefaultRoute.contains(interface.index)
    case .globalAddress: return facts.withGlobalAddress.contains(interface.index)
    case nil: return false
    }
  }

  static func isPattern(_ name: String) -> Bool { name.contains("*") || name.contains("?") }

  /// Whether a name is the one given or fits the pattern.
  static func matches(_ pattern: String, _ name: String) -> Bool {
    let (pattern, name) = (Array(pattern.utf8), Array(name.utf8))
    // Where the last star was, and how much of the name it stands for: the only place to go back to.
    var (atPattern, atName, star, taken) = (0, 0, -1, 0)
    while atName < name.count {
      if atPattern < pattern.count, pattern[atPattern] == UInt8(ascii: "*") {
        (star, taken) = (atPattern, atName)
        atPattern += 1
      } else if atPattern < pattern.count,
        pattern[atPattern] == UInt8(ascii: "?") || pattern[atPattern] == name[atName]
      {
        atPattern += 1
        atName += 1
      } else if star >= 0 {
        taken += 1
        (atPattern, atName) = (star + 1, taken)
      } else {
        return false
      }
    }
    return pattern[atPattern...].allSatisfy { $0 == UInt8(ascii: "*") }
  }
}
