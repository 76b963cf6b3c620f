import Firefly
import Flow
import NIOCore
import NIOHTTP1

/// What the API answers to which request.
struct APIRoutes: Sendable {
  /// Called once, from any thread. The response is made where it is written, not on the table's writer, which must not
  /// be held up by long ones.
  typealias Respond = @Sendable (_ response: @autoclosure @escaping @Sendable () -> APIResponse) -> Void

  struct Route: Sendable {
    let method: HTTPMethod
    /// `{id}` stands for the rest of a path.
    let path: String
    let summary: String
    let handle: @Sendable (APIRoutes, APIRequest, @escaping Respond) -> Void
  }

  let requests: TableRequests
  let applications: ApplicationNames
  let vitals: Vitals
  /// Does what takes long.
  let worker: APIWorker
  /// What metrics.listen serves: nothing but the metrics.
  var servesMetricsOnly = false

  static let all: [Route] = [
    Route(method: .GET, path: "/", summary: "The routes, as flowd-go lists them") { $2($0.root($1)) },
    Route(method: .POST, path: "/flow", summary: "One flow's start or end, as flowd-go takes it") {
      $0.flowdGoFlow($1, $2)
    },
    Route(method: .POST, path: "/v1/flows", summary: "Start flows: one, or an array") {
      $0.change($1, .start, $2)
    },
    Route(method: .POST, path: "/v1/flows/end", summary: "End flows: one, or an array") {
      $0.change($1, .end, $2)
    },
    Route(method: .GET, path: "/v1/flows", summary: "List flows") { $0.list($1, $2) },
    Route(method: .GET, path: "/v1/top", summary: "The flows that are first in some order, with rates") {
      $0.top($1, $2)
    },
    Route(method: .GET, path: "/v1/flows/{id}", summary: "One flow") { $0.find($1, $2) },
    Route(method: .GET, path: "/v1/registry", summary: "The experiments and activities of SciTags") {
      $2($0.registry())
    },
    Route(method: .GET, path: "/v1/status", summary: "Paths, flows and counters") { $0.status($2) },
    Route(method: .GET, path: "/v1/health", summary: "Whether the daemon works") { $0.health($2) },
    Route(method: .GET, path: "/metrics", summary: "Metrics, as Prometheus or OpenMetrics has them") {
      $0.metrics($1, $2)
    },
    Route(method: .GET, path: "/v1/openapi.json", summary: "This API, as OpenAPI 3.1") { $2($0.openAPI()) },
  ]

  /// Answers a request, at once or when the table's writer has.
  func handle(_ request: APIRequest, _ respond: @escaping Respond) {
    if servesMetricsOnly, request.path != "/metrics" {
      return respond(.error(.notFound, "there is nothing but /metrics at this address"))
    }
    if request.method == .GET, let file = WebPage.file(request.path) { return respond(file) }
    var allowed: [String] = []
    for route in Self.all where Self.matches(route.path, request.path) {
      if route.method == request.method { return route.handle(self, request, respond) }
      allowed.append(route.method.rawValue)
    }
    let methods = allowed.joined(separator: ", ")
    guard methods.isEmpty else {
      return respond(
        .error(
          .methodNotAllowed, "\(request.path) takes \(methods), not \(request.method.rawValue)",
          headers: [("Allow", methods)]))
    }
    respond(.error(.notFound, "there is no \(request.path); / lists what there is"))
  }

  private static func matches(_ pattern: String, _ path: String) -> Bool {
    guard pattern.hasSuffix("{id}") else { return pattern == path }
    let prefix = pattern.dropLast(4)
    return path.hasPrefix(prefix) && path.count > prefix.count && path != "/v1/flows/end"
  }

  /// flowd-go's list of routes, or for who takes HTML the status page.
  private func root(_ request: APIRequest) -> APIResponse {
    if request.accept.contains("text/html") { return WebPage.page }
    let routes = Self.all.map { route in
      JSONText.object([
        ("method", JSONText.quoted(route.method.rawValue)), ("path", JSONText.quoted(route.path)),
        ("name", JSONText.quoted(route.summary)),
      ])
    }
    return APIResponse(
      .ok, JSONText.object([("ApiRoutes", JSONText.list(routes))]), headers: [("Vary", "Accept")])
  }

  private func registry() -> APIResponse {
    let registry = Registry.embedded
    let experiments = registry.experiments.map { experiment in
      let activities = experiment.activities.map {
        JSONText.object([("number", "\($0.number)"), ("name", JSONText.quoted($0.name))])
      }
      return JSONText.object([
        ("number", "\(experiment.number)"), ("name", JSONText.quoted(experiment.name)),
        ("activities", JSONText.list(activities)),
      ])
    }
    return APIResponse(
      .ok,
      JSONText.object([
        ("modified", JSONText.quoted(registry.modified)), ("experiments", JSONText.list(experiments)),
      ]))
  }

  private func openAPI() -> APIResponse { APIResponse(.ok, OpenAPI.document) }
}
