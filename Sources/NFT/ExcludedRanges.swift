internal import Flow
internal import Glibc

/// The sets and rules by which mark-all leaves packets alone.
enum ExcludedRanges {
  private static let networks4 = "excluded4"
  private static let networks6 = "excluded6"
  private static let ports = "excludedPorts"

  /// Makes the sets, and rules that leave the chain with an excluded packet.
  static func add(_ exclusions: Exclusions, _ batch: inout Batch) {
    for (name, networks) in families(exclusions) where !networks.isEmpty {
      let isIPv4 = name == networks4
      let ranges = networks.map(\.bytes)
      addSet(name, isIPv4 ? .ipv4Address : .ipv6Address, ranges, &batch)
      // ip|ip6 daddr @SET return; RFC 791 and RFC 8200: the destination at 16 and at 24.
      batch.addRule(
        Ruleset.rest,
        (isIPv4 ? Stamping.isIPv4 : Stamping.isIPv6) + [
          .load(.network, at: isIPv4 ? 16 : 24, count: isIPv4 ? 4 : 16, Stamping.a),
          .lookUp(Stamping.a, set: name, into: nil), .verdict(.return),
        ])
    }
    guard !exclusions.ports.isEmpty else { return }
    addSet(ports, .port, PortRange.merged(exclusions.ports).map(\.bytes), &batch)
    // tcp|udp|sctp sport|dport @excludedPorts return
    for transport in TransportProtocol.allCases {
      for offset in [0, 2] as [UInt32] {
        batch.addRule(
          Ruleset.rest,
          [
            .loadMeta(.transport, Stamping.a), .equal(Stamping.a, [transport.rawValue]),
            .load(.transport, at: offset, count: 2, Stamping.a),
            .lookUp(Stamping.a, set: ports, into: nil), .verdict(.return),
          ])
      }
    }
  }

  /// Removes the sets. Their rules have to go before.
  static func remove(_ exclusions: Exclusions, _ batch: inout Batch) {
    for (name, networks) in families(exclusions) where !networks.isEmpty { batch.deleteSet(name) }
    if !exclusions.ports.isEmpty { batch.deleteSet(ports) }
  }

  private static func families(_ exclusions: Exclusions) -> [(name: String, networks: [Network])] {
    [
      (networks6, exclusions.networks.filter { !$0.address.isIPv4 }),
      (networks4, exclusions.networks.filter { $0.address.isIPv4 }),
    ]
  }

  private static func addSet(_ name: String, _ type: ElementType, _ ranges: [ByteRange], _ batch: inout Batch)
  {
    batch.addSet(SetDescription(name: name, key: [type], hasRanges: true))
    var elements: [Element] = []
    let merged = ByteRange.merged(ranges)
    // As nft does it: what is before the first range ends at 0.
    if let first = merged.first?.first, first.contains(where: { $0 != 0 }) {
      elements.append(Element(key: [UInt8](repeating: 0, count: first.count), endsRange: true))
    }
    for range in merged {
      elements.append(Element(key: range.first))
      if let end = range.end { elements.append(Element(key: end, endsRange: true)) }
    }
    batch.add(elements[...], to: name)
  }
}

/// A range of keys in network order.
struct ByteRange: Equatable {
  let first: [UInt8]
  /// The first key behind it; nil where none is.
  let end: [UInt8]?

  /// The same keys in ranges that neither touch nor overlap, which the kernel would refuse, in ascending order.
  static func merged(_ ranges: [ByteRange]) -> [ByteRange] {
    var merged: [ByteRange] = []
    for range in ranges.sorted(by: { $0.first.lexicographicallyPrecedes($1.first) }) {
      guard let last = merged.last else {
        merged.append(range)
        continue
      }
      guard let end = last.end else { break }
      if end.lexicographicallyPrecedes(range.first) {
        merged.append(range)
      } else {
        let isLonger = range.end.map { end.lexicographicallyPrecedes($0) } ?? true
        merged[merged.count - 1] = ByteRange(first: last.first, end: isLonger ? range.end : end)
      }
    }
    return merged
  }
}

extension Network {
  fileprivate var bytes: ByteRange {
    var first: [UInt8] = []
    if let ipv4 = address.ipv4 {
      withUnsafeBytes(of: ipv4.bigEndian) { first += $0 }
    } else {
      withUnsafeBytes(of: address.high.bigEndian) { first += $0 }
      withUnsafeBytes(of: address.low.bigEndian) { first += $0 }
    }
    // 1 is added where the shared bits end.
    var end = first
    var place = (length + 7) / 8 - 1
    var carry = place < 0 ? 0 : 1 << (7 - (length - 1) % 8)
    while carry > 0, place >= 0 {
      let sum = Int(end[place]) + carry
      end[place] = UInt8(sum & 0xff)
      carry = sum >> 8
      place -= 1
    }
    return ByteRange(first: first, end: carry > 0 || length == 0 ? nil : end)
  }
}

extension PortRange {
  fileprivate var bytes: ByteRange {
    func bytes(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(port & 0xff)] }
    return ByteRange(first: bytes(first), end: last == .max ? nil : bytes(last + 1))
  }
}
