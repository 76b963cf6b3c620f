/// The flows of an answer of /v1/top, as lines of text.
struct TopTable {
  /// How wide its columns at least stay.
  private static let (leastEnd, leastTag) = (12, 10)
  private static let heads = ["TAG", "PROTO", "FROM", "TO", "PATH", "RATE", "RTT", "SENT", "AGE"]
  /// Numbers stand to the right.
  private static let firstNumber = 5
  /// What narrow terminals do without: protocol, path, bytes, round-trip time.
  private static let dispensable = [1, 4, 7, 6]

  private let rows: [[String]]

  init(_ page: JSONValue) {
    rows = page["flows"].items.map { flow in
      let rate = flow["rate"].number ?? 0
      let sent = flow["bytes"].number ?? flow["sent"].number
      return [
        flow["name"].text.escapingControls, flow["protocol"].text, Self.end(flow["source"]),
        Self.end(flow["destination"]), flow["path"].text.isEmpty ? "-" : flow["path"].text,
        rate > 0 ? Scaled.rate(rate) : "-", Self.rtt(flow["tcp"]["rtt"].number),
        sent.map(Scaled.bytes) ?? "-", Scaled.duration(flow["age"].number ?? 0),
      ]
    }
  }

  private static func end(_ end: JSONValue) -> String {
    let address = end["address"].text
    return (address.contains(":") ? "[\(address)]" : address) + ":\(Int(end["port"].number ?? 0))"
  }

  /// Of microseconds.
  private static func rtt(_ value: Double?) -> String {
    guard let value, value > 0 else { return "-" }
    return value < 1000 ? "\(Int(value)) us" : "\(Scaled.tenths(value / 1000)) ms"
  }

  /// The heads and the rows.
  ///
  /// - Parameter width: columns of the terminal; nil for as wide as it is.
  func lines(width: Int?) -> [String] {
    let all = [Self.heads] + rows
    var widths = Self.heads.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    var shown = Array(Self.heads.indices)
    if let width { fit(&widths, &shown, width) }
    return all.map { row in
      var cells: [String] = []
      for column in shown {
        let text = Self.shortened(row[column], to: widths[column], atFront: column == 2 || column == 3)
        let space = String(repeating: " ", count: widths[column] - text.count)
        cells.append(column >= Self.firstNumber ? space + text : text + space)
      }
      var line = cells.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return width.map { String(line.prefix($0)) } ?? line
    }
  }

  /// Shortens ends and tags, and leaves columns out where that is not enough.
  private func fit(_ widths: inout [Int], _ shown: inout [Int], _ width: Int) {
    var excess = widths.reduce(0, +) + 2 * (widths.count - 1) - width
    // Both ends lose the same, as far as they can.
    for (column, least, share) in [
      (2, Self.leastEnd, 2), (3, Self.leastEnd, 1), (2, Self.leastEnd, 1), (0, Self.leastTag, 1),
    ] where excess > 0 {
      let cut = min((excess + share - 1) / share, max(widths[column] - least, 0))
      widths[column] -= cut
      excess -= cut
    }
    for column in Self.dispensable where excess > 0 {
      shown.removeAll { $0 == column }
      excess -= widths[column] + 2
    }
  }

  /// Of an address the end tells more than the beginning, which its neighbours share.
  private static func shortened(_ text: String, to width: Int, atFront: Bool) -> String {
    guard text.count > width else { return text }
    return atFront ? "…" + text.suffix(max(width - 1, 0)) : text.prefix(max(width - 1, 0)) + "…"
  }
}
