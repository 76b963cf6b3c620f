extension Page {
  /// The tables of one benchmark, details too, or of all.
  public func markdown(_ bench: BenchName? = nil) -> String {
    var parts: [String] = []
    for group in figures.grouped where bench == nil || group.bench == bench {
      var lines = ["**\(group.heading)**", "", "| figure | median | least to most (rounds) | goal | |"]
      lines.append("|---|---|---|---|---|")
      for figure in group.figures {
        let cells = [
          figure.name, figure.medianText, figure.spreadText, figure.goalText,
          figure.verdict.map { "\($0)" } ?? "",
        ]
        lines.append("| " + cells.joined(separator: " | ") + " |")
      }
      parts.append(lines.joined(separator: "\n"))
    }
    for failure in failures where bench == nil || failure.bench == bench {
      parts.append("It failed: \(failure.error)")
    }
    return parts.joined(separator: "\n\n") + "\n"
  }

  /// Where the figures are from.
  public var markdownFacts: String {
    (machine.lines + [tally]).map { "- \($0)\n" }.joined()
  }
}
