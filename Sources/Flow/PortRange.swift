/// A range of ports, both ends among them: `22`, `5201-5300`.
public struct PortRange: Hashable, Sendable {
  /// 1…65535, host order.
  public let first: UInt16
  public let last: UInt16

  /// - Returns: nil where a port is 0, or `last` is below `first`.
  public init?(_ first: UInt16, _ last: UInt16) {
    guard first > 0, first <= last else { return nil }
    (self.first, self.last) = (first, last)
  }

  /// - Returns: nil for port 0.
  public init?(_ port: UInt16) { self.init(port, port) }

  public func contains(_ port: UInt16) -> Bool { first <= port && port <= last }
}

extension PortRange: LosslessStringConvertible {
  public init?(_ description: String) {
    let parts = description.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    var ports: [UInt16] = []
    for part in parts {
      guard part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(part) else { return nil }
      ports.append(port)
    }
    guard let first = ports.first, let last = ports.last else { return nil }
    self.init(first, last)
  }

  public var description: String { first == last ? "\(first)" : "\(first)-\(last)" }
}

extension PortRange {
  /// The same ports in as few ranges as there can be, in ascending order.
  public static func merged(_ ranges: [PortRange]) -> [PortRange] {
    var merged: [PortRange] = []
    for range in ranges.sorted(by: { $0.first < $1.first }) {
      // 65535 has no successor, and nothing begins behind it.
      if let last = merged.last, last.last == .max || range.first <= last.last + 1,
        let joined = PortRange(last.first, max(last.last, range.last))
      {
        merged[merged.count - 1] = joined
      } else {
        merged.append(range)
      }
    }
    return merged
  }
}
