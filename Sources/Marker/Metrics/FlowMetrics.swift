import Flow
import NIOHTTP1

/// Metrics of single flows, from what the kernel tells of their TCP connections now.
struct FlowMetrics {
  private var rows: [(labels: [String], info: TCPInfo)] = []
  private let leftOut: Int

  init(_ page: FlowSearch.Page) {
    leftOut = page.matched - page.rows.count
    let sockets = LiveSockets()
    for row in page.rows {
      guard let info = sockets.info(of: row.flow) else { continue }
      let key = row.flow.key
      rows.append(
        (
          [
            key.transport.name, "\(key.local.address)", "\(key.local.port)", "\(key.remote.address)",
            "\(key.remote.port)",
          ] + row.flow.tag.metricLabels, info
        ))
    }
  }

  func add(to out: inout Exposition) {
    out.add(.flowsLeftOut, leftOut)
    add(.flowRTT, .rtt, in: 1e-6, &out)
    add(.flowMinimumRTT, .minimumRTT, in: 1e-6, &out)
    add(.flowWindow, .congestionWindow, &out)
    add(.flowDelivery, .deliveryRate, &out)
    out.add(.flowSent, rows.compactMap { row in row.info.bytes.map { (row.labels, "\($0.sent)") } })
    out.add(.flowReceived, rows.compactMap { row in row.info.bytes.map { (row.labels, "\($0.received)") } })
    add(.flowRetransmits, .totalRetrans, &out)
  }

  private func add(
    _ metric: Metric, _ field: TCPInfo.Field, in unit: Double? = nil, _ out: inout Exposition
  ) {
    out.add(
      metric,
      rows.compactMap { row in
        guard let value = row.info[field] else { return nil }
        return (row.labels, unit.map { "\(Double(value) * $0)" } ?? "\(value)")
      })
  }
}

extension APIRoutes {
  /// Asks the table's writer for a copy of its sums, and writes them on another thread.
  func metrics(_ request: APIRequest, _ respond: @escaping Respond) {
    let format = Exposition.Format(accept: request.accept)
    let isTaken = requests.offer(
      .status(counts: true) { status in
        guard status.settings.api.metrics.flows > 0 else { return write(status, nil, format, respond) }
        var search = FlowSearch(.tcp, by: .bytes, limit: status.settings.api.metrics.flows) { page in
          write(status, page, format, respond)
        }
        search.isWatched = false
        if !requests.offer(.top(search)) { respond(.busy) }
      })
    if !isTaken { respond(.busy) }
  }

  private func write(
    _ status: TableStatus, _ flows: FlowSearch.Page?, _ format: Exposition.Format,
    _ respond: @escaping Respond
  ) {
    let isTaken = worker.perform {
      let text = DaemonMetrics(status: status, vitals: vitals.read(), flows: flows).text(format)
      respond(APIResponse(.ok, text, type: format.contentType, headers: [("Vary", "Accept")]))
    }
    if !isTaken { respond(.busy) }
  }
}
