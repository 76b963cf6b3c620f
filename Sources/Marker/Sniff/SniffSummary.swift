import Flow

/// Packets and bytes by what they are marked with. Allocates only where a mark is new.
struct SniffSummary {
  enum Kind: String, Hashable, CaseIterable {
    case option, label, dscp
    /// A label that is of no registered tag: of an agent with a newer registry, or the kernel's own.
    case foreignLabel = "other label"
    case unmarked
  }

  struct Row: Hashable {
    let kind: Kind
    let tag: SciTag?
    let meaning: CodePointMeaning?
    let isIPv6: Bool
  }

  struct Counts {
    var packetsIn = 0
    var packetsOut = 0
    /// Bytes from the IP header on.
    var bytes = 0
    var missing = 0
  }

  private(set) var rows: [Row: Counts] = [:]
  /// Packets by flow that the table says should be marked and that are not.
  private(set) var missing: [FlowKey: (tag: SciTag, packets: Int)] = [:]
  /// So many flows are told of; a host with more has one fault that they all show.
  private static let mostMissing = 1000

  mutating func add(
    _ packet: MarkedPacket, _ marks: ReadMarks, _ direction: CapturedPacket.Direction?,
    _ verdict: ExpectedMarks.Verdict
  ) {
    let row = Row(packet, marks, verdict)
    var counts = rows[row] ?? Counts()
    if direction == .outgoing { counts.packetsOut += 1 } else { counts.packetsIn += 1 }
    counts.bytes += packet.length
    if case .missing(let tag) = verdict {
      counts.missing += 1
      note(packet, tag)
    }
    rows[row] = counts
  }

  private mutating func note(_ packet: MarkedPacket, _ tag: SciTag) {
    guard let transport = TransportProtocol(rawValue: packet.transport) else { return }
    let key = FlowKey(local: packet.source, remote: packet.destination, transport: transport)
    let before = missing[key]?.packets ?? 0
    guard before > 0 || missing.count < Self.mostMissing else { return }
    missing[key] = (tag, before + 1)
  }

  private func ordered(_ names: MarkNames) -> [(row: Row, counts: Counts)] {
    rows.map { ($0.key, $0.value) }.sorted { one, other in
      (one.1.bytes, one.0.name(names)) > (other.1.bytes, other.0.name(names))
    }
  }

  private func missingFlows() -> [(key: FlowKey, tag: SciTag, packets: Int)] {
    missing.map { ($0.key, $0.value.tag, $0.value.packets) }.sorted {
      ($0.packets, "\($0.key)") > ($1.packets, "\($1.key)")
    }
  }

  func text(_ names: MarkNames) -> String {
    var table = [["MARK", "BY", "FAMILY", "IN", "OUT", "BYTES", "MISSING"]]
    for (row, counts) in ordered(names) {
      table.append([
        row.name(names), row.kind.rawValue, row.isIPv6 ? "IPv6" : "IPv4", "\(counts.packetsIn)",
        "\(counts.packetsOut)", "\(counts.bytes)", "\(counts.missing)",
      ])
    }
    var text = TextTable.text(table, rightAligned: [3, 4, 5, 6])
    for flow in missingFlows() {
      text +=
        "not marked: \(flow.key), \(flow.packets) packets; the flow table says \(names.registry.name(of: flow.tag))\n"
    }
    return text
  }

  func json(_ names: MarkNames) -> String {
    let rows = ordered(names).map { row, counts in
      JSONText.object([
        ("name", JSONText.quoted(row.name(names))), ("by", JSONText.quoted(row.kind.rawValue)),
        ("experiment", (row.tag?.experiment ?? row.meaning?.experiment).map { "\($0)" } ?? "null"),
        ("activity", (row.tag?.activity ?? row.meaning?.activity).map { "\($0)" } ?? "null"),
        ("family", row.isIPv6 ? "\"ipv6\"" : "\"ipv4\""), ("packetsIn", "\(counts.packetsIn)"),
        ("packetsOut", "\(counts.packetsOut)"), ("bytes", "\(counts.bytes)"),
        ("missing", "\(counts.missing)"),
      ])
    }
    let flows = missingFlows().map { flow in
      JSONText.object([
        ("flow", JSONText.quoted("\(flow.key)")), ("experiment", "\(flow.tag.experiment)"),
        ("activity", "\(flow.tag.activity)"), ("name", JSONText.quoted(names.registry.name(of: flow.tag))),
        ("packets", "\(flow.packets)"),
      ])
    }
    return JSONText.object([("marks", JSONText.list(rows)), ("missing", JSONText.list(flows))])
  }
}

extension SniffSummary.Row {
  /// A label that the table says is right needs no registry.
  init(_ packet: MarkedPacket, _ marks: ReadMarks, _ verdict: ExpectedMarks.Verdict) {
    isIPv6 = packet.isIPv6
    if let option = marks.option {
      (kind, tag, meaning) = (.option, option, nil)
    } else if let label = marks.label, marks.labelStanding == .registered || verdict == .right(label) {
      (kind, tag, meaning) = (.label, label, nil)
    } else if let codePoint = marks.codePoint {
      (kind, tag, meaning) = (.dscp, nil, codePoint)
    } else {
      (kind, tag, meaning) = (marks.label == nil ? .unmarked : .foreignLabel, nil, nil)
    }
  }

  func name(_ names: MarkNames) -> String {
    tag.map(names.registry.name) ?? meaning.map(names.name) ?? "-"
  }
}

/// Rows in columns as wide as their widest cell, two blanks between them.
enum TextTable {
  static func text(_ rows: [[String]], rightAligned: Set<Int> = []) -> String {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    var text = ""
    for row in rows {
      var line = ""
      for (column, cell) in row.enumerated() {
        let space = String(repeating: " ", count: widths[column] - cell.count)
        line += (column == 0 ? "" : "  ") + (rightAligned.contains(column) ? space + cell : cell + space)
      }
      while line.last == " " { line.removeLast() }
      text += line + "\n"
    }
    return text
  }
}
