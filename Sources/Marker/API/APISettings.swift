import Flow
import Glibc

/// Where the API is served, as the operator says it.
enum APIAddress: Hashable, Sendable {
  case tcp(Endpoint)
  /// A unix socket, by its path from / on.
  case unix(String)

  /// Whether only this host reaches it.
  var isLocal: Bool {
    switch self {
    case .tcp(let end): end.address.isLoopback
    case .unix: true
    }
  }
}

extension APIAddress: CustomStringConvertible {
  var description: String {
    switch self {
    case .tcp(let end): "\(end)"
    case .unix(let path): path
    }
  }
}

/// The API's part of the settings.
struct APISettings: Equatable, Sendable {
  /// Where it has to be served; nil for `usual`, as far as they can be had.
  var listen: [APIAddress]?
  /// Clients that may, beside this host's own.
  var allow: [Network] = []
  /// A file with the token that all other clients need.
  var tokenFile: String?
  /// Requests of one address on another host in a second.
  var rate = 1000
  var metrics = MetricsSettings()

  /// flowd-go's address, and marker's own socket.
  static let usual: [APIAddress] = [
    .tcp(Endpoint(Address(ipv4: 0x7f00_0001), 7777)), .unix("/run/marker/api.sock"),
  ]

  var addresses: [APIAddress] { listen ?? Self.usual }

  /// Whether clients from elsewhere are neither named nor asked for a token.
  var isOpenToAll: Bool { addresses.contains { !$0.isLocal } && allow.isEmpty && tokenFile == nil }
}

/// Where metrics are served, and how many.
struct MetricsSettings: Equatable, Sendable {
  /// The most flows with metrics of their own: some 15 series each.
  static let flowLimit = 10_000

  /// Besides the API's own addresses.
  var listen: [Endpoint] = []
  /// Clients that may, beside this host's own.
  var allow: [Network] = []
  /// Flows that have metrics of their own.
  var flows = 0
}

extension APISettings {
  /// What is served for metrics alone.
  var metricsAddresses: [APIAddress] {
    metrics.listen.map { .tcp($0) }.filter { !addresses.contains($0) }
  }

  /// An address for metrics that others reach though none may.
  var strayMetricsAddress: APIAddress? {
    metrics.allow.isEmpty && tokenFile == nil ? metricsAddresses.first { !$0.isLocal } : nil
  }
}

extension APIAccess {
  /// The same for those who read metrics only.
  func forMetrics(_ settings: APISettings) -> APIAccess {
    APIAccess(networks: settings.metrics.allow, token: token, rates: rates)
  }

  /// The shortest token, characters: 16 of 64 kinds are 96 bits.
  static let shortestToken = 16

  /// Reads the token.
  init(_ settings: APISettings) throws(APIError) {
    let token = try settings.tokenFile.map { path throws(APIError) in try Self.token(path) }
    self.init(networks: settings.allow, token: token, rates: APIRates(rate: settings.rate))
  }

  private static func token(_ path: String) throws(APIError) -> String {
    guard let file = fopen(path, "re") else {
      throw APIError(address: path, reason: "the token cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var line = [UInt8](repeating: 0, count: 4096)
    let count = fread(&line, 1, line.count, file)
    let text = String(decoding: line[..<count], as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard text.count == 1, text[0].count >= shortestToken else {
      throw APIError(
        address: path, reason: "expected one word of \(shortestToken) characters or more, the token")
    }
    return String(text[0])
  }
}
