import Flow
import NIOCore
import NIOHTTP1

extension APIRoutes {
  /// Starts or ends flows. Answered when their packets are marked, or are not any more.
  func change(_ request: APIRequest, _ state: FlowEvent.State, _ respond: @escaping Respond) {
    let reading: FlowBody.Reading
    do throws(JSONProblem) {
      reading = try request.body.withReadable { bytes throws(JSONProblem) in
        try FlowBody(applications: applications).read(bytes, state)
      }
    } catch {
      return respond(.error(error))
    }
    let isTaken = requests.offer(
      .apply(reading.events) { answers in
        respond(
          reading.isArray
            ? Self.many(reading, answers) : Self.one(reading.events[0], answers[0], applications))
      })
    if !isTaken { respond(.busy) }
  }

  /// flowd-go answers with the flow that it was given.
  func flowdGoFlow(_ request: APIRequest, _ respond: @escaping Respond) {
    let event: FlowEvent
    do throws(JSONProblem) {
      event = try request.body.withReadable { bytes throws(JSONProblem) in
        try FlowdGoFlowBody(applications: applications).read(bytes)
      }
    } catch {
      return respond(.error(error))
    }
    let body = String(buffer: request.body)
    let isTaken = requests.offer(
      .apply([event]) { answers in
        // An end of what is not known is no error there.
        respond(answers[0].outcome == .refusedFull ? .full : APIResponse(.ok, body))
      })
    if !isTaken { respond(.busy) }
  }

  func list(_ request: APIRequest, _ respond: @escaping Respond) {
    var query = FlowQuery()
    do throws(JSONProblem) {
      query.limit = try Self.number(request, "limit", 1...10_000) ?? query.limit
      query.from = try Self.number(request, "from", 0...Int(Int32.max)) ?? 0
      query.activity = try Self.number(request, "activity", SciTag.activities).map { UInt8($0) }
      if let text = request.query["experiment"] {
        do throws(SciTagError) { query.experiment = try Registry.embedded.experiment(text) } catch {
          throw JSONProblem(offset: 0, field: "experiment", reason: "\(error)")
        }
      }
    } catch {
      return respond(.error(error))
    }
    let json = FlowJSON(applications: applications)
    let isTaken = requests.offer(
      .list(query) { page in
        respond(
          APIResponse(
            .ok,
            JSONText.object([
              ("flows", JSONText.list(page.flows.map { json.text($0) })), ("total", "\(page.total)"),
              ("next", page.next.map { "\($0)" } ?? "null"),
            ])))
      })
    if !isTaken { respond(.busy) }
  }

  func find(_ request: APIRequest, _ respond: @escaping Respond) {
    let id = request.path.dropFirst("/v1/flows/".count)
    guard let flow = FlowIdentity.flow(id) else {
      return respond(
        .error(
          .badRequest, "expected protocol,source address,port,destination address,port, not \(id)",
          field: "id"))
    }
    let json = FlowJSON(applications: applications)
    let isTaken = requests.offer(
      .find(flow) { found in
        respond(
          found.map { APIResponse(.ok, json.text($0)) } ?? .error(.notFound, "no such flow", field: "id"))
      })
    if !isTaken { respond(.busy) }
  }

  static func number(
    _ request: APIRequest, _ name: String, _ range: ClosedRange<Int>
  ) throws(JSONProblem) -> Int? {
    guard let text = request.query[name] else { return nil }
    guard let number = Int(text), range.contains(number) else {
      throw JSONProblem(
        offset: 0, field: name,
        reason: "expected a number from \(range.lowerBound) to \(range.upperBound), not \(text)")
    }
    return number
  }

  private static func one(
    _ event: FlowEvent, _ answer: FlowAnswer, _ applications: ApplicationNames
  ) -> APIResponse {
    let flow = answer.flow.map { FlowJSON(applications: applications).text($0) }
    let outcome = ("outcome", JSONText.quoted(answer.outcome.word))
    switch answer.outcome {
    case .refusedFull: return .full
    case .unknownEnd, .notLocal: return .error(.notFound, "no such flow")
    case .started: return APIResponse(.created, JSONText.object([outcome, ("flow", flow ?? "null")]))
    case .refreshed, .released, .ended:
      return APIResponse(.ok, JSONText.object([outcome, ("flow", flow ?? "null")]))
    }
  }

  /// How many came to what, and what was wrong with which. 207 (RFC 4918 §11.1) where not all went well.
  private static func many(_ reading: FlowBody.Reading, _ answers: ContiguousArray<FlowAnswer>) -> APIResponse
  {
    var counts: [(outcome: FlowTable.Outcome, count: Int)] = []
    for answer in answers {
      if let place = counts.firstIndex(where: { $0.outcome == answer.outcome }) {
        counts[place].count += 1
      } else {
        counts.append((answer.outcome, 1))
      }
    }
    let errors = reading.problems.map { index, problem in
      JSONText.object([("index", "\(index)"), ("error", JSONText.problem(problem.field, problem.reason))])
    }
    let isFull = counts.contains { $0.outcome == .refusedFull }
    let status: HTTPResponseStatus =
      errors.isEmpty && !isFull ? .ok : answers.isEmpty && !errors.isEmpty ? .badRequest : .multiStatus
    return APIResponse(
      status,
      JSONText.object([
        ("outcomes", JSONText.object(counts.map { ($0.outcome.word, "\($0.count)") })),
        ("errors", JSONText.list(errors)),
      ]), headers: isFull ? [("Retry-After", "10")] : [])
  }
}

extension FlowTable.Outcome {
  var word: String {
    switch self {
    case .started: "started"
    case .refreshed: "refreshed"
    case .ended: "ended"
    case .released: "released"
    case .unknownEnd: "unknown"
    case .refusedFull: "refused"
    case .notLocal: "notLocal"
    }
  }
}

extension ByteBuffer {
  /// NIO's closure has no typed errors.
  fileprivate func withReadable<T, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> T) throws(E) -> T {
    let result = withUnsafeReadableBytes { bytes -> Result<T, E> in
      do throws(E) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
