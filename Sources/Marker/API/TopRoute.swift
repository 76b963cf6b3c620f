import Firefly
import Flow
import Linux
import NIOHTTP1

extension APIRoutes {
  /// The most flows in an answer.
  static let topLimit = 1000

  /// The flows that are first in some order, with what the kernel tells of their sockets at this moment.
  func top(_ request: APIRequest, _ respond: @escaping Respond) {
    let filter: FlowFilter
    var (order, limit, isAscending) = (FlowOrder.rate, 50, false)
    do throws(JSONProblem) {
      filter = try FlowFilter(request.query["filter"] ?? "")
      order = try Self.word(request, "sort") ?? order
      limit = try Self.number(request, "limit", 1...Self.topLimit) ?? limit
      isAscending = try Self.word(request, "order") ?? Direction.descending == Direction.ascending
    } catch {
      return respond(.error(error))
    }
    let json = FlowJSON(applications: applications)
    let isTaken = requests.offer(
      .top(
        FlowSearch(filter, by: order, ascending: isAscending, limit: limit) { [worker] page in
          let isTaken = worker.perform {
            let sockets = LiveSockets()
            let rows = page.rows.map { row in
              json.text(row.flow, Self.live(row.flow, row.path, sockets.info(of: row.flow), page.now))
            }
            let body = JSONText.object([
              ("total", "\(page.total)"), ("matched", "\(page.matched)"),
              ("time", JSONText.quoted(Timestamp.text(page.now.wall))), ("flows", JSONText.list(rows)),
            ])
            respond(APIResponse(.ok, body))
          }
          if !isTaken { respond(.busy) }
        }))
    if !isTaken { respond(.busy) }
  }

  private enum Direction: String, CaseIterable { case ascending, descending }

  private static func word<Word: RawRepresentable & CaseIterable>(
    _ request: APIRequest, _ name: String
  ) throws(JSONProblem) -> Word? where Word.RawValue == String {
    guard let text = request.query[name] else { return nil }
    guard let word = Word(rawValue: text) else {
      let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
      throw JSONProblem(offset: 0, field: name, reason: "expected one of \(words), not \(text)")
    }
    return word
  }

  /// What changes all the time.
  private static func live(
    _ flow: Flow, _ path: PathKind?, _ info: TCPInfo?, _ now: Moment
  ) -> [(String, String)] {
    let bytes = info?.bytes ?? flow.moved
    let age = max(0, now.wall.microseconds - flow.start.microseconds)
    var fields = [
      ("path", path.map { JSONText.quoted($0.rawValue) } ?? "null"), ("rate", "\(Int(flow.rate))"),
      ("age", "\(Double(age / 1000) / 1000)"),
      ("idle", "\(Double(now.monotonic.microseconds(since: flow.lastSeen) / 1000) / 1000)"),
      ("sent", bytes.map { "\($0.sent)" } ?? "null"), ("received", bytes.map { "\($0.received)" } ?? "null"),
    ]
    guard let info else { return fields + [("tcp", "null")] }
    func field(_ name: String, _ field: TCPInfo.Field) -> (String, String) {
      (name, info[field].map { "\($0)" } ?? "null")
    }
    fields.append(
      (
        "tcp",
        JSONText.object([
          field("rtt", .rtt), field("minRTT", .minimumRTT), field("cwnd", .congestionWindow),
          field("retransmits", .totalRetrans), field("deliveryRate", .deliveryRate),
        ])
      ))
    return fields
  }
}

/// Asks the kernel for single TCP connections of this host.
struct LiveSockets {
  private let query = try? SocketDump()

  /// Nil for a flow that has no connection here.
  func info(of flow: Flow) -> TCPInfo? {
    guard flow.key.transport == .tcp, let query else { return nil }
    let answer = try? query.one(flow.key) { $0.isConnection ? $0.tcpInfo : nil }
    return answer ?? nil
  }
}
