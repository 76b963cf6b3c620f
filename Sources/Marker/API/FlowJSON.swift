import Firefly
import Flow

/// Flows as the API writes them.
struct FlowJSON {
  let applications: ApplicationNames

  /// - Parameter more: further fields.
  func text(_ flow: Flow, _ more: [(String, String)] = []) -> String {
    let announced = AnnouncedFlow(flow.key, flow.orientation)
    let usage = flow.usage
    return JSONText.object(
      [
        ("id", JSONText.quoted(FlowIdentity.text(announced))),
        ("protocol", JSONText.quoted(flow.key.transport.name)),
        ("source", Self.text(announced.source)), ("destination", Self.text(announced.destination)),
        ("local", flow.orientation == .outbound ? "\"source\"" : "\"destination\""),
        ("experiment", "\(flow.tag.experiment)"), ("activity", "\(flow.tag.activity)"),
        ("name", JSONText.quoted(Registry.embedded.name(of: flow.tag))),
        ("application", JSONText.quoted(applications.name(of: flow.application))),
        ("origin", JSONText.quoted(flow.origin.word)), ("start", JSONText.quoted(Timestamp.text(flow.start))),
        ("mark", flow.mark.map(Self.text) ?? "null"), ("packets", usage.map { "\($0.packets)" } ?? "null"),
        ("bytes", usage.map { "\($0.bytes)" } ?? "null"),
      ] + more)
  }

  private static func text(_ end: Endpoint) -> String {
    JSONText.object([("address", JSONText.quoted("\(end.address)")), ("port", "\(end.port)")])
  }

  private static func text(_ mark: Mark) -> String {
    var fields: [(String, String)] = []
    if let stamp = mark.label {
      fields.append(("label", JSONText.quoted("0x" + String(stamp.label.value, radix: 16))))
      fields.append(("entropy", JSONText.quoted(stamp.entropy.rawValue)))
    }
    if let stamp = mark.codePoint { fields.append(("dscp", "\(stamp.codePoint.value)")) }
    if let stamp = mark.headers { fields.append(("headers", JSONText.quoted(stamp.headers.rawValue))) }
    return JSONText.object(fields)
  }
}

/// A flow's name in paths: `tcp,2001:db8::1,34567,2001:db8::2,1094`, in its announced order.
enum FlowIdentity {
  static func text(_ flow: AnnouncedFlow) -> String {
    let (source, destination) = (flow.source, flow.destination)
    return
      "\(flow.transport.name),\(source.address),\(source.port),\(destination.address),\(destination.port)"
  }

  static func flow(_ text: Substring) -> AnnouncedFlow? {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    guard parts.count == 5, let transport = TransportProtocol.allCases.first(where: { $0.name == parts[0] }),
      let from = Address(String(parts[1])), let fromPort = UInt16(parts[2]),
      let to = Address(String(parts[3])), let toPort = UInt16(parts[4]), fromPort > 0, toPort > 0,
      from.isIPv4 == to.isIPv4
    else { return nil }
    return AnnouncedFlow(
      source: Endpoint(from, fromPort), destination: Endpoint(to, toPort), transport: transport)
  }
}

extension Origin {
  /// As the API and the log name it.
  var word: String {
    switch self {
    case .pipe: "pipe"
    case .api: "api"
    case .firefly: "firefly"
    case .socketWatch: "sockets"
    case .perfSONAR: "perfsonar"
    case .command: "command"
    }
  }
}
