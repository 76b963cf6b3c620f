/// The flows that lately ended with their socket, so that a source that tells of their end afterwards does not have
/// them end twice. It is of one size and forgets when two flows share a place.
struct LateEnds {
  private static let places = 4096
  /// How long a source may lag behind. Microseconds.
  private static let lag: Int64 = 60_000_000

  private var ends: ContiguousArray<(hash: UInt64, time: MonotonicTime)> = []

  mutating func insert(_ hash: UInt64, at time: MonotonicTime) {
    if ends.isEmpty {
      ends = ContiguousArray(repeating: (0, MonotonicTime(nanoseconds: 0)), count: Self.places)
    }
    ends[Int(hash % UInt64(Self.places))] = (hash, time)
  }

  /// Whether the flow was there; it is not afterwards.
  mutating func take(_ hash: UInt64, at now: MonotonicTime) -> Bool {
    guard !ends.isEmpty else { return false }
    let place = Int(hash % UInt64(Self.places))
    guard ends[place].hash == hash, now.microseconds(since: ends[place].time) < Self.lag else { return false }
    ends[place].hash = 0
    return true
  }
}
