internal import Flow

/// What the mark-all scope leaves alone, in the form that packets are compared with: `Exclusions` read for speed.
struct ScopeExclusions: Sendable {
  /// Addresses from the first to the last, in host order.
  private struct Range: Sendable {
    var first: Address
    var last: Address
  }
  /// Sorted, none touches another. A family each: `::/0` holds no IPv4.
  private let ipv6: ContiguousArray<Range>
  private let ipv4: ContiguousArray<Range>
  /// A bit for each port; empty where none is excluded.
  private let ports: ContiguousArray<UInt8>

  let isEmpty: Bool

  init(_ exclusions: Exclusions) {
    ipv6 = Self.ranges(exclusions.networks.filter { !$0.address.isIPv4 })
    ipv4 = Self.ranges(exclusions.networks.filter { $0.address.isIPv4 })
    isEmpty = exclusions.isEmpty
    guard !exclusions.ports.isEmpty else {
      ports = []
      return
    }
    var bits = ContiguousArray<UInt8>(repeating: 0, count: 1 << 13)
    for range in exclusions.ports {
      for port in range.first...range.last { bits[Int(port >> 3)] |= 1 << (port & 7) }
    }
    ports = bits
  }

  private static func ranges(_ networks: [Network]) -> ContiguousArray<Range> {
    var ranges: ContiguousArray<Range> = []
    // Of those that begin alike, the widest first.
    let sorted = networks.sorted {
      $0.address == $1.address ? $0.length < $1.length : $0.address < $1.address
    }
    for network in sorted {
      let range = Range(first: network.address, last: network.last)
      // Of two networks the one holds the other, or they share nothing.
      if let before = ranges.last, range.first <= before.last { continue }
      ranges.append(range)
    }
    return ranges
  }

  /// - Parameter key: as packets have it; its remote end is where the packet goes.
  func contains(networkOf key: FlowWords, isIPv6: Bool) -> Bool {
    let address = Address(high: UInt64(bigEndian: key.remote0), low: UInt64(bigEndian: key.remote1))
    let ranges = isIPv6 ? ipv6 : ipv4
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].last < address { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].first <= address
  }

  /// Of either end. A packet without ports has 0 there, which is in no range.
  func contains(portsOf key: FlowWords) -> Bool {
    guard !ports.isEmpty, PacketShape.hasPorts(UInt8(truncatingIfNeeded: key.ends >> 32)) else {
      return false
    }
    return has(UInt16(truncatingIfNeeded: key.ends)) || has(UInt16(truncatingIfNeeded: key.ends >> 16))
  }

  /// - Parameter port: in network order.
  private func has(_ port: UInt16) -> Bool {
    let port = UInt16(bigEndian: port)
    return ports[Int(port >> 3)] >> UInt8(port & 7) & 1 == 1
  }
}

extension Network {
  /// The last address of the range.
  fileprivate var last: Address {
    let bits = address.isIPv4 ? length + 96 : length
    // A shift by 64 and more gives 0.
    return Address(
      high: address.high | ~(UInt64.max << max(0, 64 - bits)),
      low: address.low | ~(UInt64.max << (128 - max(64, bits))))
  }
}

extension Address {
  fileprivate static func < (one: Address, other: Address) -> Bool {
    (one.high, one.low) < (other.high, other.low)
  }

  fileprivate static func <= (one: Address, other: Address) -> Bool { !(other < one) }
}
