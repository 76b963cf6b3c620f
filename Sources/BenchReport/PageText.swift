extension Page {
  /// The page for people: a line for each figure.
  ///
  /// - Parameter details: with the figures that a page has no room for.
  public func text(details: Bool = false) -> String {
    let shown = figures.filter { details || !$0.isDetail }
    let width = shown.nameWidth
    func row(_ name: String, _ median: String, _ spread: String, _ goal: String, _ verdict: String) -> String
    {
      (name.padded(width) + median.padded(18) + spread.padded(30) + goal.padded(12) + verdict)
        .withoutTrailingBlanks
    }
    var lines = machine.lines + [row("", "median", "least to most (rounds)", "goal", "")]
    for (bench, heading, figures) in shown.grouped {
      lines.append("\(bench.rawValue): \(heading)")
      for figure in figures {
        lines.append(
          row(
            "  \(figure.name)", figure.medianText, figure.spreadText, figure.goalText,
            figure.verdict.map { "\($0)" } ?? ""))
      }
    }
    for failure in failures { lines.append("\(failure.bench.rawValue): FAILED: \(failure.error)") }
    lines.append(tally)
    return lines.joined(separator: "\n") + "\n"
  }

  var tally: String {
    let verdicts = figures.compactMap(\.verdict)
    return "\(verdicts.count(where: \.isMet)) of \(verdicts.count) goals met"
  }
}

extension Machine {
  var lines: [String] {
    [
      "marker bench, \(date), commit \(commit)",
      "\(processor), \(processors) processors, \(architecture)\(isVirtual ? ", virtual machine" : "")",
      "Linux \(kernel), Swift \(swift), load at the start \(loadText)"
        + (isBusy ? ": BUSY, the figures are not the machine's best" : ""),
    ]
  }
}

extension [Figure] {
  /// The column of the names, which are indented by two.
  var nameWidth: Int { (map(\.name.count).max() ?? 0) + 4 }

  /// Neighbours of one benchmark and one heading together.
  var grouped: [(bench: BenchName, heading: String, figures: [Figure])] {
    var groups: [(bench: BenchName, heading: String, figures: [Figure])] = []
    for figure in self {
      if let last = groups.last, last.bench == figure.bench, last.heading == figure.heading {
        groups[groups.count - 1].figures.append(figure)
      } else {
        groups.append((figure.bench, figure.heading, [figure]))
      }
    }
    return groups
  }
}

extension String {
  /// At least one blank follows, so that columns stay apart.
  func padded(_ width: Int) -> String { self + String(repeating: " ", count: Swift.max(1, width - count)) }

  var withoutTrailingBlanks: String {
    var text = self[...]
    while text.last == " " { text = text.dropLast() }
    return String(text)
  }
}
