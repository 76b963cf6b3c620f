import Firefly
import Flow
import Linux
import Logging
import NIOHTTP1

extension APIRoutes {
  func status(_ respond: @escaping Respond) {
    let isTaken = requests.offer(
      .status(counts: true) { [vitals] status in
        respond(APIResponse(.ok, StatusJSON(status: status, vitals: vitals.read(), start: vitals.start).text))
      })
    if !isTaken { respond(.busy) }
  }

  /// Whether the table's writer answers, and does what it was asked for.
  func health(_ respond: @escaping Respond) {
    let isTaken = requests.offer(
      .status(counts: false) { status in
        let problems = status.problems
        respond(
          APIResponse(
            problems.isEmpty ? .ok : .serviceUnavailable,
            JSONText.object([
              ("healthy", "\(problems.isEmpty)"), ("problems", JSONText.list(problems.map(JSONText.quoted))),
            ])))
      })
    if !isTaken { respond(.busy) }
  }
}

extension TableStatus {
  /// What it was asked for and does not do.
  var problems: [String] {
    let lacking = plan.assignments.filter { $0.path == nil }.map { "no path works for \($0.stamp.words)" }
    let isIdle = !settings.interfaces.isEmpty && interfaces.isEmpty
    return lacking + (isIdle ? ["no interface is there to mark on"] : [])
  }

  /// What does not stop it but should be looked at.
  var concerns: [String] {
    var concerns: [String] = []
    for place in places where !place.marks && place.path != nil {
      // What another path marks there is no lack.
      if places.contains(where: { $0.interface == place.interface && $0.isIPv4 == place.isIPv4 && $0.marks })
      {
        continue
      }
      concerns.append(
        "\(place.isIPv4 ? "IPv4" : "IPv6") on \(place.interface) is not marked: \(place.words)")
    }
    if flows >= settings.limits.maxFlows { concerns.append("the flow table is full (flows.max)") }
    return concerns
  }
}

/// The daemon's status as the API writes it.
struct StatusJSON {
  let status: TableStatus
  let vitals: Vitals.Reading
  let start: Moment

  /// `failing` where it does not do what it was asked for, `degraded` where it does only partly.
  private var health: (word: String, reasons: [String]) {
    if !status.problems.isEmpty { return ("failing", status.problems) }
    let collectors = vitals.fireflies.collectors.filter(\.isFailing).map {
      "collector \($0.name) gets no fireflies" + ($0.destination.lastError.map { ": \($0)" } ?? "")
    }
    let reasons = status.concerns + collectors
    return (reasons.isEmpty ? "healthy" : "degraded", reasons)
  }

  var text: String {
    let health = health
    return JSONText.object(
      [
        ("health", JSONText.quoted(health.word)),
        ("reasons", JSONText.list(health.reasons.map(JSONText.quoted))),
        ("version", JSONText.quoted(Daemon.version)), ("start", JSONText.quoted(Timestamp.text(start.wall))),
        ("uptime", "\(MonotonicTime.now().microseconds(since: start.monotonic) / 1_000_000)"),
        ("strategy", JSONText.quoted(status.settings.strategy.rawValue)),
        ("decision", JSONText.list(status.plan.sentences.map(JSONText.quoted))), ("paths", paths),
        ("interfaces", JSONText.list(status.interfaces.map(JSONText.quoted))), ("places", places),
        ("flows", "\(status.flows)"), ("maxFlows", "\(status.settings.limits.maxFlows)"), ("events", events),
      ] + traffic + [
        ("pathEvents", pathEvents), ("fireflies", fireflies), ("heard", heard),
        (
          "pipes",
          JSONText.object([
            ("lines", "\(vitals.pipeLines)"), ("malformed", "\(vitals.malformedLines)"),
          ])
        ), ("requests", JSONText.object(APIRequests.Kind.allCases.map { ($0.rawValue, requests($0)) })),
        ("log", log),
      ])
  }

  private func requests(_ kind: APIRequests.Kind) -> String { "\(vitals.requests[kind] ?? 0)" }

  private var paths: String {
    JSONText.list(
      status.paths.map { path in
        let families = [(AddressFamilies.ipv6, "ipv6"), (.ipv4, "ipv4")].filter {
          path.families.contains($0.0)
        }
        return JSONText.object([
          ("path", JSONText.quoted(path.kind.rawValue)),
          ("families", JSONText.list(families.map { JSONText.quoted($0.1) })),
        ])
      })
  }

  private var places: String {
    JSONText.list(
      status.places.map { place in
        JSONText.object([
          ("interface", JSONText.quoted(place.interface)),
          ("family", place.isIPv4 ? "\"ipv4\"" : "\"ipv6\""),
          ("path", place.path.map { JSONText.quoted($0.rawValue) } ?? "null"),
          ("stamp", JSONText.quoted(place.stamp.words)), ("marks", "\(place.marks)"),
          ("reason", JSONText.quoted(place.words)),
        ])
      })
  }

  private var events: String {
    let counters = status.counters
    return JSONText.object([
      ("started", "\(counters.started)"), ("refreshed", "\(counters.refreshed)"),
      ("ended", "\(counters.ended)"), ("released", "\(counters.released)"),
      ("unknownEnds", "\(counters.unknownEnds)"), ("refusedFull", "\(counters.refusedFull)"),
      ("aged", "\(counters.aged)"), ("endedWithSocket", "\(counters.endedWithSocket)"),
      ("notLocal", "\(counters.notLocal)"), ("refusedMarks", "\(counters.refusedMarks)"),
    ])
  }

  private var traffic: [(String, String)] {
    let rows = status.totals.rows.filter { $0.started > 0 || $0.flows > 0 || !$0.isSilent }
    let marked = status.totals.marked
    return [
      ("marked", Self.usage(marked)), ("scope", Self.usage(status.scope)),
      (
        "tags",
        JSONText.list(
          rows.map { row in
            JSONText.object([
              ("name", JSONText.quoted(row.name)), ("family", row.isIPv4 ? "\"ipv4\"" : "\"ipv6\""),
              ("flows", "\(row.flows)"), ("started", "\(row.started)"), ("ended", "\(row.ended)"),
              ("packets", "\(row.marked.packets)"), ("bytes", "\(row.marked.bytes)"),
              ("socketSent", "\(row.moved.sent)"), ("socketReceived", "\(row.moved.received)"),
            ])
          })
      ),
    ]
  }

  private static func usage(_ usage: Usage) -> String {
    JSONText.object([("packets", "\(usage.packets)"), ("bytes", "\(usage.bytes)")])
  }

  private var pathEvents: String {
    JSONText.list(
      status.tallies.map { tally in
        JSONText.object([
          ("path", JSONText.quoted(tally.path.rawValue)), ("event", JSONText.quoted(tally.event)),
          ("count", "\(tally.count)"),
        ])
      })
  }

  private var fireflies: String {
    let totals = vitals.fireflies
    return JSONText.object([
      ("start", "\(totals.announced.start)"), ("ongoing", "\(totals.announced.ongoing)"),
      ("end", "\(totals.announced.end)"), ("inexpressible", "\(totals.announced.inexpressible)"),
      ("relayed", "\(totals.relayed)"), ("remoteEnds", Self.destination(totals.remoteEnds)),
      ("private", "\(totals.privateRemoteEnds)"), ("unreachable", "\(totals.skippedRemoteEnds)"),
      (
        "collectors",
        JSONText.list(
          totals.collectors.map { collector in
            Self.destination(
              collector.destination,
              [
                ("collector", JSONText.quoted(collector.name)),
                ("address", collector.address.map(JSONText.quoted) ?? "null"),
                ("failing", "\(collector.isFailing)"),
              ])
          })
      ),
    ])
  }

  private static func destination(
    _ destination: Emitter.Statistics.Destination, _ fields: [(String, String)] = []
  ) -> String {
    JSONText.object(
      fields + [
        ("sent", "\(destination.sent)"), ("dropped", "\(destination.dropped)"),
        ("held", "\(destination.held)"), ("errors", "\(destination.errors)"),
        ("lastError", destination.lastError.map(JSONText.quoted) ?? "null"),
      ])
  }

  private var heard: String {
    JSONText.object(vitals.heard.all.map { ($0.result, "\($0.count)") })
  }

  private var log: String {
    let counts = vitals.log
    return JSONText.object([
      ("warnings", "\(counts.levels[.warning] ?? 0)"),
      ("errors", "\((counts.levels[.error] ?? 0) + (counts.levels[.critical] ?? 0))"),
      ("suppressed", "\(counts.suppressed)"),
      (
        "last",
        JSONText.list(
          counts.incidents.map { incident in
            JSONText.object([
              ("time", JSONText.quoted(Timestamp.text(incident.time))),
              ("level", JSONText.quoted(incident.level.rawValue)),
              ("message", JSONText.quoted(incident.message.escapingControls)), ("count", "\(incident.count)"),
            ])
          })
      ),
    ])
  }
}

extension TagTotals {
  /// All that paths have marked.
  var marked: Usage {
    rows.reduce(into: Usage()) { sum, row in
      sum.packets += row.marked.packets
      sum.bytes += row.marked.bytes
    }
  }
}

extension TagTotals.Row {
  /// By all paths.
  var marked: Usage {
    PathKind.allCases.reduce(into: Usage()) { sum, path in
      sum.packets += self[path].packets
      sum.bytes += self[path].bytes
    }
  }

  var isSilent: Bool { marked == Usage() && moved == SocketBytes(sent: 0, received: 0) }

  /// `other` for tags without a row of their own.
  var name: String { tag.map { Registry.embedded.name(of: $0) } ?? "other" }
}
