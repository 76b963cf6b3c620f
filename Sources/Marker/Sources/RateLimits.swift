import Flow
import Linux

/// How many things each of many senders may do in a second, and a second's worth at once.
struct RateLimits {
  /// Senders that are watched on their own; those beyond share one allowance.
  static let limit = 4096

  /// A bucket of tokens, one for each thing: full, it holds those of a second.
  private struct Bucket {
    var tokens: Double
    var filled: MonotonicTime
  }

  private let rate: Double
  private var places: [Address: Int] = [:]
  private var buckets: ContiguousArray<Bucket> = []
  private var others: Bucket
  /// They mostly come several from one.
  private var last: (sender: Address, place: Int?)?
  private var nextSweep: MonotonicTime

  /// - Parameter rate: of one sender in a second.
  init(rate: Int, at now: MonotonicTime) {
    self.rate = Double(rate)
    others = Bucket(tokens: Double(rate), filled: now)
    nextSweep = now
  }

  /// - Returns: false where the sender has had its share.
  mutating func take(from sender: Address, at now: MonotonicTime) -> Bool {
    let place: Int?
    if let last, last.sender == sender {
      place = last.place
    } else {
      place = self.place(of: sender, at: now)
      last = (sender, place)
    }
    return if let place { take(from: &buckets[place], at: now) } else { take(from: &others, at: now) }
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
