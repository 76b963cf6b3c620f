import Flow
import Linux

/// Who may send fireflies, and how many.
struct SenderLimits {
  /// Senders whose rate is watched on its own; those beyond share one allowance.
  static let limit = 4096

  enum Verdict { case allowed, notAllowed, limited }

  /// A bucket of tokens, one for a firefly: full, it holds those of a second.
  private struct Bucket {
    var tokens: Double
    var filled: MonotonicTime
  }

  private let networks: [Network]
  private let rate: Double
  private var places: [Address: Int] = [:]
  private var buckets: ContiguousArray<Bucket> = []
  private var others: Bucket
  /// Fireflies mostly come several from one.
  private var last: (sender: Address, place: Int?)?
  private var nextSweep: MonotonicTime

  /// - Parameter rate: fireflies of one sender in a second.
  init(from networks: [Network], rate: Int, at now: MonotonicTime) {
    self.networks = networks
    self.rate = Double(rate)
    others = Bucket(tokens: Double(rate), filled: now)
    nextSweep = now
  }

  mutating func judge(_ sender: Address, at now: MonotonicTime) -> Verdict {
    let place: Int?
    if let last, last.sender == sender {
      place = last.place
    } else {
      guard networks.contains(where: { $0.contains(sender) }) else { return .notAllowed }
      place = self.place(of: sender, at: now)
      last = (sender, place)
    }
    let isFree = if let place { take(from: &buckets[place], at: now) } else { take(from: &others, at: now) }
    return isFree ? .allowed : .limited
  }

  private func take(from bucket: inout Bucket, at now: MonotonicTime) -> Bool {
    let microseconds = Double(now.microseconds(since: bucket.filled))
    bucket.tokens = min(rate, bucket.tokens + microseconds * rate / 1e6)
    bucket.filled = max(now, bucket.filled)
    guard bucket.tokens >= 1 else { return false }
    bucket.tokens -= 1
    return true
  }

  private mutating func place(of sender: Address, at now: MonotonicTime) -> Int? {
    if let place = places[sender] { return place }
    if buckets.count == Self.limit { sweep(at: now) }
    guard buckets.count < Self.limit else { return nil }
    let place = buckets.count
    buckets.append(Bucket(tokens: rate, filled: now))
    places[sender] = place
    return place
  }

  /// Forgets senders that were silent for a second: their buckets are full, as those of new ones. At most once a second,
  /// because senders are easily forged.
  private mutating func sweep(at now: MonotonicTime) {
    guard nextSweep <= now else { return }
    nextSweep = now.advanced(milliseconds: 1000)
    let kept = places.filter { now.microseconds(since: buckets[$0.value].filled) < 1_000_000 }
    var left = ContiguousArray<Bucket>()
    places.removeAll(keepingCapacity: true)
    for (sender, place) in kept {
      places[sender] = left.count
      left.append(buckets[place])
    }
    buckets = left
    last = nil
  }
}
