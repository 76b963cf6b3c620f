import Flow
import Linux

/// Who may send fireflies, and how many.
struct SenderLimits {
  enum Verdict { case allowed, notAllowed, limited }

  private let networks: [Network]
  private var rates: RateLimits
  /// Fireflies mostly come several from one.
  private var lastAllowed: Address?

  /// - Parameter rate: fireflies of one sender in a second.
  init(from networks: [Network], rate: Int, at now: MonotonicTime) {
    self.networks = networks
    rates = RateLimits(rate: rate, at: now)
  }

  mutating func judge(_ sender: Address, at now: MonotonicTime) -> Verdict {
    if lastAllowed != sender {
      guard networks.contains(where: { $0.contains(sender) }) else { return .notAllowed }
      lastAllowed = sender
    }
    return rates.take(from: sender, at: now) ? .allowed : .limited
  }
}
