import Linux

/// What `marker probe` shows to a person: a heading for each group, under it a row for each thing that was tried.
enum ProbeTable {
  typealias Group = (heading: String, attempts: [Attempt])
  /// What was tried, the verdict, and the kernel's answer with what would be needed.
  private typealias Line = (what: String, verdict: String, note: String)

  static func text(_ report: HostReport, _ interfaces: InterfaceReport, _ decision: Decision) -> String {
    var groups: [Group] = HostReport.Group.allCases.map { group in
      (group.rawValue, report.rows.filter { $0.group == group }.map(\.attempt))
    }
    groups.append(("interfaces", interfaces.rows.map { Attempt($0.name, $0.finding) }))
    var sentences = decision.plan?.sentences ?? []
    if let problem = decision.problem { sentences.append("\(problem)") }
    return text(groups)
      + "decision for strategy \(decision.strategy.rawValue), path \(decision.path.rawValue)\n"
      + sentences.map { "  \($0)" }.joined(separator: "\n")
  }

  /// The groups, in columns as wide as the widest row asks for.
  static func text(_ groups: [Group]) -> String {
    let width = groups.flatMap(\.attempts).map(\.what.count).max() ?? 0
    var text = ""
    for (heading, attempts) in groups {
      text += "\(heading)\n"
      var above = ""
      for attempt in attempts {
        let line = line(attempt)
        // What refuses one thing often refuses the next as well; said once it is seen at once.
        let isRepeated = !attempt.finding.isYes && !above.isEmpty && line.note == above
        let note = isRepeated ? "as above" : line.note
        above = line.note
        let row = "  \(padded(line.what, width))  \(padded(line.verdict, 7))  \(note)"
        text += String(row.reversed().drop { $0 == " " }.reversed()) + "\n"
      }
      if attempts.isEmpty { text += "  none\n" }
    }
    return text
  }

  private static func line(_ attempt: Attempt) -> Line {
    let finding = attempt.finding
    let need = finding.need.isEmpty ? "" : "needs: \(finding.need)"
    let note = [finding.answer, need].filter { !$0.isEmpty }.joined(separator: "; ")
    return (attempt.what, finding.verdict.rawValue, note)
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
