internal import CTable
public import Flow

/// Rules in the flat form that the programs at TCP's events read: a row for each combination of a rule's networks and
/// port ranges.
///
/// What does not fit is left to userspace, never left out: the row that has no room is replaced by one that asks about
/// everything from there on, and so is a rule whose tags have none.
struct RuleRows {
  private(set) var rows: [marker_row] = []
  private(set) var tags: [marker_tag] = []
  private static let allPorts: [(first: UInt16, last: UInt16)] = [(0, .max)]

  /// - Parameters:
  ///   - rules: of which those of UDP alone are passed over.
  ///   - mark: what the tc path stamps for a tag, by address family; nil for nothing.
  init(_ rules: [SocketRule], mark: (_ tag: SciTag, _ isIPv4: Bool) -> Mark?) {
    for rule in rules where rule.transports.contains(.tcp) {
      var row = marker_row()
      row.verdict = UInt8(MARKER_VERDICT_ASK)
      if rule.needsOnlyKey {
        switch rule.verdict {
        case .exclude: row.verdict = UInt8(MARKER_VERDICT_EXCLUDE)
        case .tag(let tags): enter(tags, &row, mark)
        }
      }
      guard append(row, rule) else { return }
    }
  }

  private mutating func enter(
    _ tags: [SciTag], _ row: inout marker_row, _ mark: (SciTag, Bool) -> Mark?
  ) {
    // Rules often share a tag.
    let wanted = tags.map { tag in
      var entry = marker_tag()
      entry.packed = UInt32(tag.packed)
      if let mark = mark(tag, false) { entry.ipv6 = marker_value(mark) }
      if let mark = mark(tag, true) { entry.ipv4 = marker_value(mark) }
      return entry
    }
    let first: Int
    if wanted.count == 1, let known = self.tags.firstIndex(where: { $0.packed == wanted[0].packed }) {
      first = known
    } else {
      guard self.tags.count + wanted.count <= Int(MARKER_MAX_TAGS) else { return }
      first = self.tags.count
      self.tags += wanted
    }
    row.verdict = UInt8(MARKER_VERDICT_TAG)
    row.first_tag = UInt8(first)
    row.tags = UInt8(wanted.count)
  }

  /// - Returns: false where there is no room for more.
  private mutating func append(_ row: marker_row, _ rule: SocketRule) -> Bool {
    let locals = rule.localPorts.isEmpty ? Self.allPorts : rule.localPorts.map { ($0.first, $0.last) }
    let remotes = rule.remotePorts.isEmpty ? Self.allPorts : rule.remotePorts.map { ($0.first, $0.last) }
    let count = locals.count * remotes.count * max(1, rule.networks.count)
    guard rows.count + count < Int(MARKER_MAX_ROWS) else {
      var rest = marker_row()
      rest.verdict = UInt8(MARKER_VERDICT_ASK)
      rest.families = UInt8(MARKER_ROW_IPV6 | MARKER_ROW_IPV4)
      (rest.local_last, rest.remote_last) = (.max, .max)
      rows.append(rest)
      return false
    }
    for local in locals {
      for remote in remotes {
        var row = row
        (row.local_first, row.local_last) = local
        (row.remote_first, row.remote_last) = remote
        row.families = UInt8(MARKER_ROW_IPV6 | MARKER_ROW_IPV4)
        if rule.networks.isEmpty { rows.append(row) }
        for network in rule.networks {
          row.families = UInt8(network.address.isIPv4 ? MARKER_ROW_IPV4 : MARKER_ROW_IPV6)
          withUnsafeMutableBytes(of: &row.remote) { $0.store(network.address) }
          withUnsafeMutableBytes(of: &row.mask) { $0.store(network.mask) }
          rows.append(row)
        }
      }
    }
    return true
  }
}

extension Network {
  /// The bits that all addresses share, IPv4 in its mapped form.
  fileprivate var mask: Address {
    let bits = address.isIPv4 ? length + 96 : length
    // A shift by 64 and more gives 0.
    return Address(high: UInt64.max << max(0, 64 - bits), low: UInt64.max << (128 - max(64, bits)))
  }
}

/// Which of a rule's tags a flow gets, the same in the kernel and here.
public enum TagChoice {
  /// - Parameter count: how many there are, at least one.
  public static func place(of key: FlowKey, among count: Int) -> Int {
    let ports = UInt32(key.local.port.bigEndian) | UInt32(key.remote.port.bigEndian) << 16
    return Int(marker_choice(UInt32(littleEndian: ports), UInt32(count)))
  }
}
