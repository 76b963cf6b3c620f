/// The flows of an answer of /v1/top, as lines of text.
struct TopTable {
  /// How wide its columns at least stay.
  private static let (leastEnd, leastTag) = (12, 10)
  private static let heads = ["TAG", "PROTO", "FROM", "TO", "PATH", "RATE", "RTT", "SENT", "AGE"]
  /// Numbers stand to the right.
  private static let firstNumber = 5

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
    if let width {
      var excess = widths.reduce(0, +) + 2 * (widths.count - 1) - width
      for (column, least) in [(2, Self.leastEnd), (3, Self.leastEnd), (0, Self.leastTag)] where excess > 0 {
        // Both ends lose the same.
        let share = column == 2 ? (excess + 1) / 2 : excess
        let cut = min(share, max(widths[column] - least, 0))
        widths[column] -= cut
        excess -= cut
      }
    }
    return all.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        let text = Self.shortened(cell, to: widths[column], atFront: column == 2 || column == 3)
        let space = String(repeating: " ", count: widths[column] - text.count)
        line +=
          (column >= Self.firstNumber ? space + text : text + space) + (column < row.count - 1 ? "  " : "")
      }
      while line.last == " " { line.removeLast() }
      return width.map { String(line.prefix($0)) } ?? line
    }
  }

  /// Of an address the end tells more than the beginning, which its neighbours share.
  private static func shortened(_ text: String, to width: Int, atFront: Bool) -> String {
    guard text.count > width else { return text }
    return atFront ? "…" + text.suffix(max(width - 1, 0)) : text.prefix(max(width - 1, 0)) + "…"
  }
}
