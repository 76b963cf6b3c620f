import Linux

/// What `marker probe` shows to a person: a heading for each group, under it a row for each thing that was tried.
enum ProbeTable {
  /// What was tried, the verdict, and the kernel's answer with what would be needed.
  private typealias Line = (what: String, verdict: String, note: String)

  static func text(_ report: HostReport, _ interfaces: InterfaceReport, _ decision: Decision) -> String {
    var groups = HostReport.Group.allCases.map { group in
      (group.rawValue, report.rows.filter { $0.group == group }.map { line($0.attempt) })
    }
    groups.append(("interfaces", interfaces.rows.map { line(Attempt($0.name, $0.finding)) }))
    let width = groups.flatMap(\.1).map(\.what.count).max() ?? 0
    var text = ""
    for (heading, lines) in groups {
      text += "\(heading)\n"
      for line in lines {
        let row = "  \(padded(line.what, width))  \(padded(line.verdict, 7))  \(line.note)"
        text += String(row.reversed().drop { $0 == " " }.reversed()) + "\n"
      }
      if lines.isEmpty { text += "  none\n" }
    }
    text += "decision for strategy \(decision.strategy.rawValue), path \(decision.path.rawValue)\n"
    var sentences = decision.plan?.sentences ?? []
    if let problem = decision.problem { sentences.append("\(problem)") }
    return text + sentences.map { "  \($0)" }.joined(separator: "\n")
  }

  private static func line(_ attempt: Attempt) -> Line {
    let finding = attempt.finding
    let need = finding.need.isEmpty ? [] : ["needs: \(finding.need)"]
    let note = (finding.answer.isEmpty ? [] : [finding.answer]) + need
    return (attempt.what, finding.verdict.rawValue, note.joined(separator: "; "))
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
