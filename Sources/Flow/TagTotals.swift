/// What happened since the process started, by tag and address family. Sums only grow: a flow that ends leaves its share.
public struct TagTotals: Sendable {
  /// What happened to the flows of one tag and one family.
  public struct Row: Sendable {
    /// Nil for the tags that came when there was no room for a row of their own.
    public let tag: SciTag?
    public let isIPv4: Bool
    /// Flows that are there.
    public internal(set) var flows = 0
    public internal(set) var started: UInt64 = 0
    public internal(set) var ended: UInt64 = 0
    /// Payload of their TCP sockets, as far as the kernel was asked for it.
    public internal(set) var moved = SocketBytes(sent: 0, received: 0)
    /// By the place of a path in `PathKind.allCases`.
    private var counted = InlineArray<5, Usage>(repeating: Usage())

    init(_ tag: SciTag?, isIPv4: Bool) {
      self.tag = tag
      self.isIPv4 = isIPv4
    }

    /// What a path has counted.
    public internal(set) subscript(path: PathKind) -> Usage {
      get { counted[path.place] }
      set { counted[path.place] = newValue }
    }
  }

  /// Rows, the two of tags without one of their own among them. Fireflies of others may name any tag.
  public static let rowLimit = 1000

  /// The first two are those of tags without rows of their own, IPv6 and IPv4.
  public private(set) var rows: ContiguousArray<Row> = [Row(nil, isIPv4: false), Row(nil, isIPv4: true)]
  private var places: [UInt32: Int] = [:]
  /// Flows of one tag mostly come together.
  private var last: (key: UInt32, place: Int)?

  init() {}

  /// The place of a row, which is made where there is none.
  mutating func place(_ tag: SciTag, isIPv4: Bool) -> Int {
    let key = UInt32(tag.packed) << 1 | (isIPv4 ? 1 : 0)
    if let last, last.key == key { return last.place }
    let place: Int
    if let known = places[key] {
      place = known
    } else if rows.count < Self.rowLimit {
      place = rows.count
      rows.append(Row(tag, isIPv4: isIPv4))
      places[key] = place
    } else {
      place = isIPv4 ? 1 : 0
    }
    last = (key, place)
    return place
  }

  mutating func withRow(_ tag: SciTag, isIPv4: Bool, _ body: (inout Row) -> Void) {
    body(&rows[place(tag, isIPv4: isIPv4)])
  }

  /// Adds what a path has counted beyond what it had before.
  mutating func add(_ usage: Usage, since before: Usage?, by path: PathKind, _ tag: SciTag, isIPv4: Bool) {
    withRow(tag, isIPv4: isIPv4) { row in
      row[path].packets += growth(usage.packets, since: before?.packets)
      row[path].bytes += growth(usage.bytes, since: before?.bytes)
    }
  }

  /// Adds what a socket has moved beyond what it had before.
  mutating func add(_ bytes: SocketBytes, since before: SocketBytes, _ tag: SciTag, isIPv4: Bool) {
    withRow(tag, isIPv4: isIPv4) { row in
      row.moved.sent += growth(bytes.sent, since: before.sent)
      row.moved.received += growth(bytes.received, since: before.received)
    }
  }
}

/// A count that is lower than before has begun anew.
private func growth(_ count: UInt64, since before: UInt64?) -> UInt64 {
  guard let before, before <= count else { return count }
  return count - before
}

extension PathKind {
  /// Among all cases.
  var place: Int {
    switch self {
    case .sock: 0
    case .tc: 1
    case .nft: 2
    case .xdp: 3
    case .raw: 4
    }
  }
}
