/// The address families that a path serves.
public struct AddressFamilies: OptionSet, Hashable, Sendable {
  public let rawValue: UInt8

  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let ipv6 = AddressFamilies(rawValue: 1)
  public static let ipv4 = AddressFamilies(rawValue: 2)
  public static let all: AddressFamilies = [.ipv6, .ipv4]

  /// Whether a flow is of one of them.
  public func contains(_ key: FlowKey) -> Bool { contains(key.isIPv4 ? .ipv4 : .ipv6) }
}

extension ChangeBatch {
  /// Lets a path see the changes of some families only. What it sets in them is set here.
  public mutating func withChanges(
    of families: AddressFamilies, _ body: (inout ChangeBatch) -> Void
  ) {
    guard families != .all else { return body(&self) }
    withChanges(where: { families.contains($0.key) }, body)
  }

  /// Lets a path see some changes only. What it sets in them is set here.
  public mutating func withChanges(
    where isWanted: (Change) -> Bool, _ body: (inout ChangeBatch) -> Void
  ) {
    let places = changes.indices.filter { isWanted(changes[$0]) }
    // Nearly always one path serves all that there is.
    guard places.count < changes.count else { return body(&self) }
    guard !places.isEmpty else { return }
    var part = ChangeBatch()
    part.changes.reserveCapacity(places.count)
    for place in places { part.changes.append(changes[place]) }
    body(&part)
    for (place, change) in zip(places, part.changes) {
      changes[place].failure = change.failure
      changes[place].usage = change.usage
    }
  }
}

extension ScopeMarks {
  /// The marks of some families.
  public func of(_ families: AddressFamilies) -> ScopeMarks {
    ScopeMarks(
      ipv6: families.contains(.ipv6) ? ipv6 : nil, ipv4: families.contains(.ipv4) ? ipv4 : nil,
      except: exclusions)
  }
}
