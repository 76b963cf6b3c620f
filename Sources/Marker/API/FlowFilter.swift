import Flow

/// Which flows somebody wants to see, as words that all have to fit: `atlas`, `cms/14`, `2001:db8::/32`, `1094`, `udp`,
/// `ipv4`, `pipe`.
struct FlowFilter: Sendable {
  private enum Word: Sendable {
    case experiment(UInt16)
    case tag(SciTag)
    case network(Network)
    case port(UInt16)
    case transport(TransportProtocol)
    case isIPv4(Bool)
    case origin(Origin)
  }
  private var words: [Word] = []

  static let tcp: FlowFilter = {
    var filter = FlowFilter()
    filter.words = [.transport(.tcp)]
    return filter
  }()

  /// Fits all.
  init() {}

  /// - Throws: `JSONProblem` for a word that says nothing.
  init(_ text: String) throws(JSONProblem) {
    for part in text.split(whereSeparator: \.isWhitespace) { words.append(try Self.word(String(part))) }
  }

  private static func word(_ text: String) throws(JSONProblem) -> Word {
    let lower = text.lowercased()
    if let port = UInt16(text) { return .port(port) }
    if let transport = TransportProtocol.allCases.first(where: { $0.name == lower }) {
      return .transport(transport)
    }
    if lower == "ipv4" || lower == "ipv6" { return .isIPv4(lower == "ipv4") }
    if let origin = Origin.allCases.first(where: { $0.word == lower }) { return .origin(origin) }
    if let network = Network(text) { return .network(network) }
    if let slash = text.firstIndex(of: "/") {
      do throws(SciTagError) {
        return .tag(
          try Registry.embedded.tag(
            experiment: String(text[..<slash]), activity: String(text[text.index(after: slash)...])))
      } catch { throw problem("\(error)") }
    }
    do throws(SciTagError) { return .experiment(try Registry.embedded.experiment(text)) } catch {
      throw problem(
        "\"\(text)\" is no experiment, experiment/activity, address, network, port, protocol, ipv4, ipv6 or source"
      )
    }
  }

  private static func problem(_ reason: String) -> JSONProblem {
    JSONProblem(offset: 0, field: "filter", reason: reason)
  }

  func fits(_ flow: Flow) -> Bool {
    for word in words {
      let key = flow.key
      let fits =
        switch word {
        case .experiment(let number): flow.tag.experiment == number
        case .tag(let tag): flow.tag == tag
        case .network(let network):
          network.contains(key.local.address) || network.contains(key.remote.address)
        case .port(let port): key.local.port == port || key.remote.port == port
        case .transport(let transport): key.transport == transport
        case .isIPv4(let isIPv4): key.isIPv4 == isIPv4
        case .origin(let origin): flow.origin == origin
        }
      if !fits { return false }
    }
    return true
  }
}
