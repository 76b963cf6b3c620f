import Flow
import NIOHTTP1

extension APIRoutes {
  func status(_ respond: @escaping Respond) {
    let isTaken = requests.offer(.status { status in respond(APIResponse(.ok, Self.text(status))) })
    if !isTaken { respond(.busy) }
  }

  /// Whether the table's writer answers, and does what it was asked for.
  func health(_ respond: @escaping Respond) {
    let isTaken = requests.offer(
      .status { status in
        let lacking = status.plan.assignments.filter { $0.path == nil }.map {
          "no path works for \($0.stamp.words)"
        }
        let isIdle = !status.settings.interfaces.isEmpty && status.interfaces.isEmpty
        let problems = lacking + (isIdle ? ["no interface is there to mark on"] : [])
        respond(
          APIResponse(
            problems.isEmpty ? .ok : .serviceUnavailable,
            JSONText.object([
              ("healthy", "\(problems.isEmpty)"), ("problems", JSONText.list(problems.map(JSONText.quoted))),
            ])))
      })
    if !isTaken { respond(.busy) }
  }

  private static func text(_ status: TableStatus) -> String {
    let counters = status.counters
    let paths = status.paths.map { path in
      let families = [(AddressFamilies.ipv6, "ipv6"), (.ipv4, "ipv4")].filter { path.families.contains($0.0) }
      return JSONText.object([
        ("path", JSONText.quoted(path.kind.rawValue)),
        ("families", JSONText.list(families.map { JSONText.quoted($0.1) })),
      ])
    }
    return JSONText.object([
      ("version", JSONText.quoted(Daemon.version)),
      ("strategy", JSONText.quoted(status.settings.strategy.rawValue)),
      ("decision", JSONText.list(status.plan.sentences.map(JSONText.quoted))),
      ("paths", JSONText.list(paths)),
      ("interfaces", JSONText.list(status.interfaces.map(JSONText.quoted))), ("flows", "\(status.flows)"),
      ("maxFlows", "\(status.settings.limits.maxFlows)"),
      (
        "events",
        JSONText.object([
          ("started", "\(counters.started)"), ("refreshed", "\(counters.refreshed)"),
          ("ended", "\(counters.ended)"),
          ("released", "\(counters.released)"), ("unknownEnds", "\(counters.unknownEnds)"),
          ("refusedFull", "\(counters.refusedFull)"), ("aged", "\(counters.aged)"),
          ("endedWithSocket", "\(counters.endedWithSocket)"), ("notLocal", "\(counters.notLocal)"),
          ("refusedMarks", "\(counters.refusedMarks)"),
        ])
      ),
    ])
  }
}
