import Flow
import NIOCore
import NIOHTTP1

/// Who may use the API. A unix socket's clients are let in by the permissions of its file, those on loopback always;
/// all others need to be of a network that is allowed, or to know the token.
struct APIAccess: Sendable {
  /// Who is at the other end.
  enum Client: Sendable {
    case local
    case remote(Address)
    case unknown

    init(_ address: SocketAddress?) {
      switch address {
      case .unixDomainSocket: self = .local
      case .v4, .v6:
        guard let text = address?.ipAddress, let parsed = Address(text) else {
          self = .unknown
          return
        }
        self = parsed.isLoopback ? .local : .remote(parsed)
      case nil: self = .unknown
      }
    }
  }

  let networks: [Network]
  let token: String?
  let rates: APIRates

  /// The answer to a client that may not, or not now; nil for one that may.
  func refusal(of client: Client, _ head: HTTPRequestHead) -> APIResponse? {
    // Guesses at the token count too.
    if let refusal = rates.refusal(of: client) { return refusal }
    switch client {
    case .local: return nil
    case .remote(let address) where networks.contains(where: { $0.contains(address) }): return nil
    case .remote, .unknown: break
    }
    guard let token else {
      return .error(
        .forbidden, "this address is in none of the networks of api.allow, or of metrics.allow for metrics")
    }
    let given = head.headers.first(name: "authorization") ?? ""
    guard Self.isSame(given, "Bearer \(token)") else {
      return .error(
        .unauthorized, "expected the header Authorization: Bearer and the token of api.tokenFile",
        headers: [("WWW-Authenticate", "Bearer")])
    }
    return nil
  }

  /// In a time that does not tell how much of a guess is right.
  private static func isSame(_ left: String, _ right: String) -> Bool {
    let (left, right) = (Array(left.utf8), Array(right.utf8))
    guard left.count == right.count else { return false }
    return zip(left, right).reduce(UInt8(0)) { $0 | $1.0 ^ $1.1 } == 0
  }
}
