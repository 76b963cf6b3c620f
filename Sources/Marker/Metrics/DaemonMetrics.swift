import Firefly
import Flow
import Logging

/// All metrics of the daemon at one moment, as text.
struct DaemonMetrics {
  let status: TableStatus
  let vitals: Vitals.Reading
  /// The flows that have metrics of their own; nil where none are to have any.
  let flows: FlowSearch.Page?

  private typealias Samples = [(labels: [String], value: String)]

  func text(_ format: Exposition.Format) -> String {
    var out = Exposition(format)
    addFlows(&out)
    addTraffic(&out)
    addPaths(&out)
    addFireflies(&out)
    addRest(&out)
    if let flows { FlowMetrics(flows).add(to: &out) }
    addProcess(&out)
    return out.finished()
  }

  /// Tags without a row of their own have one only where there are any.
  private var rows: [TagTotals.Row] {
    status.totals.rows.filter { $0.tag != nil || $0.started > 0 || $0.flows > 0 }
  }

  private func addFlows(_ out: inout Exposition) {
    out.add(.build, [([Daemon.version], "1")])
    out.add(.healthy, status.problems.isEmpty ? 1 : 0)
    out.add(.flows, rows.map { ($0.labels, "\($0.flows)") })
    out.add(.flowLimit, status.settings.limits.maxFlows)
    out.add(.started, rows.map { ($0.labels, "\($0.started)") })
    out.add(.ended, rows.map { ($0.labels, "\($0.ended)") })
    let counters = status.counters
    let events: [(String, UInt64)] = [
      ("started", counters.started), ("refreshed", counters.refreshed), ("ended", counters.ended),
      ("released", counters.released), ("unknown_end", counters.unknownEnds),
      ("refused_full", counters.refusedFull), ("not_local", counters.notLocal), ("aged", counters.aged),
      ("ended_with_socket", counters.endedWithSocket),
    ]
    out.add(.events, events.map { ([$0.0], "\($0.1)") })
    out.add(.refusedMarks, counters.refusedMarks)
  }

  private func addTraffic(_ out: inout Exposition) {
    var (packets, bytes): (Samples, Samples) = ([], [])
    for row in rows {
      for path in PathKind.allCases {
        // A path that marks the family has its series from the flow's start on: a counter that begins with its first
        // count hides it from rate().
        let isInUse = status.paths.contains {
          $0.kind == path && $0.families.contains(row.isIPv4 ? .ipv4 : .ipv6)
        }
        guard isInUse && path != .sock || row[path] != Usage() else { continue }
        let labels = row.labels + [path.rawValue, "out"]
        packets.append((labels, "\(row[path].packets)"))
        bytes.append((labels, "\(row[path].bytes)"))
      }
    }
    out.add(.packets, packets)
    out.add(.bytes, bytes)
    out.add(
      .socketBytes,
      rows.flatMap { row in
        [(row.labels + ["out"], "\(row.moved.sent)"), (row.labels + ["in"], "\(row.moved.received)")]
      })
    if status.settings.markAll != nil || status.scope != Usage() {
      out.add(.scopePackets, status.scope.packets)
      out.add(.scopeBytes, status.scope.bytes)
    }
  }

  private func addPaths(_ out: inout Exposition) {
    out.add(
      .pathMarks,
      status.places.map { place in
        (
          [place.interface, place.isIPv4 ? "ipv4" : "ipv6", place.path?.rawValue ?? "none"],
          place.marks ? "1" : "0"
        )
      })
    out.add(.pathEvents, status.tallies.map { ([$0.path.rawValue, $0.event], "\($0.count)") })
  }

  private func addFireflies(_ out: inout Exposition) {
    let totals = vitals.fireflies
    let announced: [(String, UInt64)] = [
      ("start", totals.announced.start), ("ongoing", totals.announced.ongoing), ("end", totals.announced.end),
    ]
    out.add(.announced, announced.map { ([$0.0], "\($0.1)") })
    let destinations: [(name: String, counts: Emitter.Statistics.Destination)] =
      [("remote_ends", totals.remoteEnds)] + totals.collectors.map { ($0.name, $0.destination) }
    out.add(.sent, destinations.map { ([$0.name], "\($0.counts.sent)") })
    out.add(.dropped, destinations.map { ([$0.name], "\($0.counts.dropped)") })
    out.add(.sendErrors, destinations.map { ([$0.name], "\($0.counts.errors)") })
    out.add(.failing, totals.collectors.map { ([$0.name], $0.isFailing ? "1" : "0") })
    out.add(.relayed, totals.relayed)
    out.add(.heard, vitals.heard.all.map { ([$0.result], "\($0.count)") })
  }

  private func addRest(_ out: inout Exposition) {
    out.add(
      .pipeLines,
      [(["event"], "\(vitals.pipeLines)"), (["malformed"], "\(vitals.malformedLines)")])
    out.add(.requests, APIRequests.Kind.allCases.map { ([$0.rawValue], "\(vitals.requests[$0] ?? 0)") })
    out.add(.logged, Logger.Level.allCases.map { ([$0.rawValue], "\(vitals.log.levels[$0] ?? 0)") })
    out.add(.suppressed, vitals.log.suppressed)
  }

  private func addProcess(_ out: inout Exposition) {
    guard let facts = ProcessFacts.current() else { return }
    out.add(.cpu, facts.processorTime)
    out.add(.resident, facts.residentBytes)
    out.add(.virtual, facts.virtualBytes)
    out.add(.descriptors, facts.descriptors)
    out.add(.descriptorLimit, facts.descriptorLimit)
    out.add(.startTime, facts.start)
  }
}

extension TagTotals.Row {
  /// Experiment, activity and family.
  fileprivate var labels: [String] {
    let family = isIPv4 ? "ipv4" : "ipv6"
    guard let tag else { return ["other", "other", family] }
    return tag.metricLabels + [family]
  }
}

extension SciTag {
  /// Names, or numbers where the registry has none.
  var metricLabels: [String] {
    let experiment = Registry.embedded.experiments.first { $0.number == self.experiment }
    let activity = experiment?.activities.first { $0.number == self.activity }
    return [experiment?.name ?? "\(self.experiment)", activity?.name ?? "\(self.activity)"]
  }
}
