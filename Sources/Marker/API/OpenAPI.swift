import NIOHTTP1

/// The API's own description (OpenAPI 3.1), made of the routes and these schemas.
enum OpenAPI {
  static let document: String = {
    var paths: [(path: String, operations: [(String, String)])] = []
    for route in APIRoutes.all {
      let operation = (route.method.rawValue.lowercased(), operation(route))
      if let place = paths.firstIndex(where: { $0.path == route.path }) {
        paths[place].operations.append(operation)
      } else {
        paths.append((route.path, [operation]))
      }
    }
    return JSONText.object([
      ("openapi", "\"3.1.0\""),
      (
        "info",
        JSONText.object([("title", "\"marker\""), ("version", JSONText.quoted(Daemon.version))])
      ),
      ("paths", JSONText.object(paths.map { ($0.path, JSONText.object($0.operations)) })),
      ("components", "{\"schemas\":\(schemas)}"),
    ])
  }()

  private static func operation(_ route: APIRoutes.Route) -> String {
    var fields = [("summary", JSONText.quoted(route.summary))]
    if route.path.hasSuffix("{id}") {
      fields.append(
        (
          "parameters",
          #"[{"name":"id","in":"path","required":true,"schema":{"type":"string"},"description":"protocol,source address,port,destination address,port"}]"#
        ))
    } else if route.path == "/v1/flows", route.method == .GET {
      fields.append(("parameters", listParameters))
    }
    if route.method == .POST {
      let schema =
        route.path == "/flow"
        ? #"{"type":"object"}"#
        : ##"{"oneOf":[{"$ref":"#/components/schemas/Flow"},{"type":"array","items":{"$ref":"#/components/schemas/Flow"}}]}"##
      fields.append(
        ("requestBody", #"{"required":true,"content":{"application/json":{"schema":\#(schema)}}}"#))
    }
    fields.append(
      (
        "responses",
        ##"{"default":{"description":"JSON; where something is wrong, an error with its field and reason","content":{"application/json":{}}}}"##
      ))
    return JSONText.object(fields)
  }

  private static let listParameters = """
    [{"name":"experiment","in":"query","schema":{"type":["integer","string"]}},\
    {"name":"activity","in":"query","schema":{"type":"integer","minimum":0,"maximum":63}},\
    {"name":"limit","in":"query","schema":{"type":"integer","minimum":1,"maximum":10000,"default":1000}},\
    {"name":"from","in":"query","schema":{"type":"integer","minimum":0}}]
    """

  private static let schemas = """
    {"End":{"type":"object","required":["address","port"],"properties":{"address":{"type":"string"},\
    "port":{"type":"integer","minimum":1,"maximum":65535}}},\
    "Flow":{"type":"object","required":["protocol","source","destination","experiment","activity"],"properties":{\
    "state":{"enum":["start","ongoing","end"]},"protocol":{"enum":["tcp","udp","sctp"]},\
    "source":{"$ref":"#/components/schemas/End"},"destination":{"$ref":"#/components/schemas/End"},\
    "experiment":{"type":["integer","string"]},"activity":{"type":["integer","string"]},\
    "application":{"type":"string","maxLength":64},\
    "start":{"type":"string","format":"date-time"},"end":{"type":"string","format":"date-time"}}}}
    """
}
