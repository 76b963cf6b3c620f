import ArgumentParser
import Flow
import Linux

/// Shows what this host can do and what would be done.
struct Probe: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Try every way of marking on this host, and show what would be chosen and why.",
    discussion: """
      Each way is tried for real in a throw-away network namespace: a packet is sent through it and its mark read back. \
      Nothing of the host changes. Exits with 1 where the strategy asked for does not work fully.
      """)

  @Option(help: "The strategy to decide on.")
  var strategy = Strategy.auto

  @Option(help: "The path to decide on.")
  var path = PathChoice.auto

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let report = HostReport()
    let plan: Plan?
    let problem: PlanError?
    do throws(PlanError) {
      plan = try Plan(strategy, path, report.abilities)
      problem = nil
    } catch {
      plan = nil
      problem = error
    }
    if json {
      print(Self.json(report, plan, problem))
    } else {
      Self.table(report)
      print("\nstrategy \(strategy.rawValue), path \(path.rawValue):")
      for sentence in plan?.sentences ?? [] { print("  \(sentence)") }
      if let problem { print("  \(problem)") }
    }
    guard plan?.isProven == true else { throw ExitCode.failure }
  }

  private static func table(_ report: HostReport) {
    let width = report.rows.map(\.what.count).max() ?? 0
    for row in report.rows {
      let padding = String(repeating: " ", count: width - row.what.count)
      let verdict = row.finding.verdict.rawValue
      let note = row.finding.description
      print("\(row.what)\(padding)  \(verdict)\(note.isEmpty ? "" : "  \(note)")")
    }
  }

  private static func json(_ report: HostReport, _ plan: Plan?, _ problem: PlanError?) -> String {
    let rows = report.rows.map {
      "{\"what\":\(quoted($0.what)),\"verdict\":\"\($0.finding.verdict.rawValue)\","
        + "\"answer\":\(quoted($0.finding.answer)),\"needs\":\(quoted($0.finding.need))}"
    }
    func assignment(_ assignment: Plan.Assignment?) -> String {
      guard let assignment else { return "null" }
      let path = assignment.path.map { quoted($0.rawValue) } ?? "null"
      let fallbacks = assignment.fallbacks.map { quoted($0.rawValue) }.joined(separator: ",")
      return "{\"stamp\":\(quoted(assignment.stamp.rawValue)),\"path\":\(path),\"fallbacks\":[\(fallbacks)]}"
    }
    return "{\"tried\":[\(rows.joined(separator: ","))],\"ipv6\":\(assignment(plan?.ipv6)),"
      + "\"ipv4\":\(assignment(plan?.ipv4)),\"problem\":\(problem.map { quoted("\($0)") } ?? "null")}"
  }

  /// A JSON string, RFC 8259 §7.
  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": out += "\\\(scalar)"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
