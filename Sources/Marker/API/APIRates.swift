import Flow
import Linux
import NIOHTTP1
import Synchronization

/// How many requests clients on other hosts may make. This host's own share its addresses, and what they can bring
/// about is bounded by what may wait; so each may as much as it likes.
final class APIRates: Sendable {
  private let limits: Mutex<RateLimits>

  /// - Parameter rate: requests of one address in a second.
  init(rate: Int) { limits = Mutex(RateLimits(rate: rate, at: .now())) }

  /// The answer to a client that has had its share; nil for one that has not.
  func refusal(of client: APIAccess.Client) -> APIResponse? {
    let address: Address
    switch client {
    case .local: return nil
    case .remote(let remote): address = remote
    case .unknown: address = .unspecified
    }
    guard !limits.withLock({ $0.take(from: address, at: .now()) }) else { return nil }
    return .error(
      .tooManyRequests,
      "this address makes more requests in a second than api.rate has; an array of flows is one",
      headers: [("Retry-After", "1")])
  }
}
