import Flow
import Linux

/// What `marker probe --json` prints: one object.
enum ProbeJSON {
  static func text(_ report: HostReport, _ interfaces: InterfaceReport, _ decision: Decision) -> String {
    let rows = report.rows.map { object([("group", quoted($0.group.rawValue))] + fields($0.attempt)) }
    return object([
      ("tried", list(rows)), ("interfaces", list(interfaces.rows.map(interface))),
      ("ipv6", assignment(decision.plan?.ipv6)), ("ipv4", assignment(decision.plan?.ipv4)),
      ("problem", decision.problem.map { quoted("\($0)") } ?? "null"),
    ])
  }

  private static func fields(_ attempt: Attempt) -> [(String, String)] {
    [
      ("what", quoted(attempt.what)), ("verdict", quoted(attempt.finding.verdict.rawValue)),
      ("answer", quoted(attempt.finding.answer)), ("needs", quoted(attempt.finding.need)),
    ]
  }

  private static func interface(_ row: InterfaceReport.Row) -> String {
    let details = row.details
    let header = details.interface.linkHeader.map { quoted($0 == .ethernet ? "ethernet" : "none") }
    return object([
      ("name", quoted(row.name)), ("index", "\(details.interface.index)"),
      ("kind", quoted(details.interface.kind)), ("driver", quoted(details.driver)),
      ("linkHeader", header ?? "null"),
      ("linkType", "\(details.interface.hardwareType)"), ("up", "\(details.isUp)"),
      ("carrier", "\(details.hasCarrier)"), ("mtu", "\(details.mtu)"),
      ("master", row.master.map(quoted) ?? "null"), ("below", row.below.map(quoted) ?? "null"),
      ("coveredBy", row.coveredBy.map(quoted) ?? "null"), ("defaultRoute", "\(row.isOnDefaultRoute)"),
      ("globalAddress", "\(row.hasGlobalAddress)"),
      ("discoveredBy", list(row.discoveredBy.map { quoted($0.rawValue) })),
      ("queues", details.queues.map { "\($0)" } ?? "null"),
      ("xdp", details.xdp.map { list($0.words.map(quoted)) } ?? "null"),
      ("verdict", quoted(row.finding.verdict.rawValue)), ("answer", quoted(row.finding.answer)),
      ("needs", quoted(row.finding.need)),
    ])
  }

  private static func assignment(_ assignment: Plan.Assignment?) -> String {
    guard let assignment else { return "null" }
    return object([
      ("stamp", quoted(assignment.stamp.rawValue)),
      ("path", assignment.path.map { quoted($0.rawValue) } ?? "null"),
      ("complement", assignment.complement.map { quoted($0.rawValue) } ?? "null"),
      ("fallbacks", list(assignment.fallbacks.map { quoted($0.rawValue) })),
    ])
  }

  private static func object(_ fields: [(String, String)]) -> String { JSONText.object(fields) }
  private static func list(_ items: [String]) -> String { JSONText.list(items) }
  private static func quoted(_ text: String) -> String { JSONText.quoted(text) }
}
