internal import Glibc

/// The ports of packets whose first fragment has passed, for the fragments behind it, which have none. An entry is needed
/// for microseconds: where there is no room the oldest of its set goes.
struct FragmentMemory: ~Copyable {
  private static let sets = 2048
  private static let ways = 4
  /// The addresses' four, the identification, the ends.
  private static let entryWords = 6
  private static let present: UInt64 = 1 << 63
  private let entries: UnsafeMutablePointer<UInt64>
  private let next: UnsafeMutablePointer<UInt8>

  init() {
    // Their pages are not there until they are written to.
    guard let entries = calloc(Self.sets * Self.ways * Self.entryWords, 8), let next = calloc(Self.sets, 1)
    else {
      preconditionFailure("no memory for fragments")
    }
    self.entries = entries.bindMemory(to: UInt64.self, capacity: Self.sets * Self.ways * Self.entryWords)
    self.next = next.bindMemory(to: UInt8.self, capacity: Self.sets)
  }

  deinit {
    free(entries)
    free(next)
  }

  private static func set(_ key: FlowWords, _ identification: UInt32) -> Int {
    var hash = (key.local1 ^ key.remote1 &* 3 ^ UInt64(identification) << 17) &* 0xbf58_476d_1ce4_e5b9
    hash ^= hash >> 32
    return Int(truncatingIfNeeded: hash) & (sets - 1)
  }

  private func find(_ key: FlowWords, _ identification: UInt32) -> UnsafeMutablePointer<UInt64>? {
    let first = entries + Self.set(key, identification) * Self.ways * Self.entryWords
    for way in 0..<Self.ways {
      let entry = first + way * Self.entryWords
      if entry[4] == UInt64(identification) | Self.present, entry[0] == key.local0, entry[1] == key.local1,
        entry[2] == key.remote0, entry[3] == key.remote1
      {
        return entry
      }
    }
    return nil
  }

  /// The ends of the packet that a fragment belongs to.
  func ends(_ key: FlowWords, _ identification: UInt32) -> UInt64? { find(key, identification)?[5] }

  mutating func keep(_ key: FlowWords, _ identification: UInt32) {
    if let entry = find(key, identification) {
      entry[5] = key.ends
      return
    }
    let set = Self.set(key, identification)
    let entry = entries + (set * Self.ways + Int(next[set])) * Self.entryWords
    next[set] = (next[set] + 1) % UInt8(Self.ways)
    (entry[0], entry[1], entry[2], entry[3]) = (key.local0, key.local1, key.remote0, key.remote1)
    entry[4] = UInt64(identification) | Self.present
    entry[5] = key.ends
  }

  mutating func forget(_ key: FlowWords, _ identification: UInt32) {
    find(key, identification)?[4] = 0
  }
}
