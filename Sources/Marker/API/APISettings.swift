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

  /// flowd-go's address, and marker's own socket.
  static let usual: [APIAddress] = [
    .tcp(Endpoint(Address(ipv4: 0x7f00_0001), 7777)), .unix("/run/marker/api.sock"),
  ]

  var addresses: [APIAddress] { listen ?? Self.usual }

  /// Whether clients from elsewhere are neither named nor asked for a token.
  var isOpenToAll: Bool { addresses.contains { !$0.isLocal } && allow.isEmpty && tokenFile == nil }
}

extension APIAccess {
  /// The shortest token, characters: 16 of 64 kinds are 96 bits.
  static let shortestToken = 16

  /// Reads the token.
  init(_ settings: APISettings) throws(APIError) {
    networks = settings.allow
    rates = APIRates(rate: settings.rate)
    guard let path = settings.tokenFile else {
      token = nil
      return
    }
    guard let file = fopen(path, "re") else {
      throw APIError(address: path, reason: "the token cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var line = [UInt8](repeating: 0, count: 4096)
    let count = fread(&line, 1, line.count, file)
    let text = String(decoding: line[..<count], as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard text.count == 1, text[0].count >= Self.shortestToken else {
      throw APIError(
        address: path, reason: "expected one word of \(Self.shortestToken) characters or more, the token")
    }
    token = String(text[0])
  }
}
