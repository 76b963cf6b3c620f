internal import Flow
internal import Glibc
internal import Synchronization

/// The flows that a packet thread marks: open addressing, a cache line for each flow. Only the thread that owns it
/// changes it.
struct RewriterTable: ~Copyable {
  /// The words of a slot: the key's five, the stamp, then packets and bytes.
  typealias Slot = UnsafeMutablePointer<UInt64>
  static let slotWords = 8
  private static let slotBytes = slotWords * 8
  private static let stamp = 5
  private static let packets = 6
  private static let bytes = 7

  /// Aligned to a cache line.
  private(set) var slots: Slot
  private(set) var capacity: Int
  private(set) var count = 0
  private var mask: UInt64
  private let seed: UInt64

  /// - Parameter seed: random, so that nobody can send flows that fall on one place.
  init(seed: UInt64) {
    capacity = 1024
    mask = UInt64(capacity - 1)
    self.seed = seed | 1
    guard let memory = Self.allocate(capacity) else { preconditionFailure("no memory for the flows") }
    slots = memory
  }

  deinit { free(slots) }

  /// All zeros; nil where there is no memory.
  private static func allocate(_ capacity: Int) -> Slot? {
    guard let memory = aligned_alloc(64, capacity * slotBytes) else { return nil }
    memset(memory, 0, capacity * slotBytes)
    return memory.bindMemory(to: UInt64.self, capacity: capacity * slotWords)
  }

  @inline(__always)
  private func hash(_ key: FlowWords) -> UInt64 {
    // Products of 128 bits, folded: every bit of the key reaches every bit of the place.
    let one = Self.fold(key.local0 ^ seed, key.local1 ^ 0xa076_1d64_78bd_642f)
    let two = Self.fold(key.remote0 ^ seed, key.remote1 ^ 0xe703_7ed1_a0b4_28db)
    return Self.fold(one ^ key.ends, two ^ 0x8ebc_6af0_9c88_c6e3)
  }

  @inline(__always)
  private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }

  /// The flow's slot, nil where it is not there.
  @inline(__always)
  func find(_ key: FlowWords) -> Slot? {
    var place = hash(key) & mask
    while true {
      let slot = slots + Int(truncatingIfNeeded: place) &* Self.slotWords
      if slot[Self.stamp] == 0 { return nil }
      let difference =
        (slot[0] ^ key.local0) | (slot[1] ^ key.local1) | (slot[2] ^ key.remote0) | (slot[3] ^ key.remote1)
        | (slot[4] ^ key.ends)
      if difference == 0 { return slot }
      place = (place &+ 1) & mask
    }
  }

  @inline(__always)
  static func stamp(_ slot: Slot) -> StampWord { StampWord(bits: slot[stamp]) }

  /// Counters are read by another thread, so they are written whole.
  @inline(__always)
  static func count(_ slot: Slot, packets: Int, bytes: Int) {
    add(UInt64(truncatingIfNeeded: packets), to: slot + Self.packets)
    add(UInt64(truncatingIfNeeded: bytes), to: slot + Self.bytes)
  }

  @inline(__always)
  private static func add(_ number: UInt64, to word: UnsafeMutablePointer<UInt64>) {
    // One thread writes: what it reads it has written itself.
    let counter = UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt64>.self)
    counter.pointee.store(counter.pointee.load(ordering: .relaxed) &+ number, ordering: .relaxed)
  }

  private static func read(_ word: UnsafeMutablePointer<UInt64>) -> UInt64 {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(
      ordering: .relaxed)
  }

  static func usage(_ slot: Slot) -> Usage { Usage(packets: read(slot + packets), bytes: read(slot + bytes)) }

  /// Every flow of a table's memory, also while its owner counts in it.
  static func forEach(_ slots: Slot, capacity: Int, _ body: (FlowWords, Usage) -> Void) {
    for place in 0..<capacity {
      let slot = slots + place * slotWords
      guard slot[stamp] != 0 else { continue }
      body(words(slot), usage(slot))
    }
  }

  private static func words(_ slot: Slot) -> FlowWords {
    FlowWords(slot[0], slot[1], slot[2], slot[3], ends: slot[4])
  }

  /// Enters a flow, or changes the stamp of one that is there, whose counters go on.
  ///
  /// - Parameter usage: what a new flow has counted already.
  /// - Returns: false where there is no memory for it.
  mutating func set(_ key: FlowWords, _ stamp: StampWord, counted usage: Usage = Usage()) -> Bool {
    if let slot = find(key) {
      slot[Self.stamp] = stamp.bits
      return true
    }
    // Three quarters full at most: probes stay short.
    if (count + 1) * 4 > capacity * 3, !grow() { return false }
    insert(key, stamp, usage)
    count += 1
    return true
  }

  private func insert(_ key: FlowWords, _ stamp: StampWord, _ usage: Usage) {
    var place = hash(key) & mask
    while slots[Int(place) * Self.slotWords + Self.stamp] != 0 { place = (place + 1) & mask }
    let slot = slots + Int(place) * Self.slotWords
    (slot[0], slot[1], slot[2], slot[3]) = (key.local0, key.local1, key.remote0, key.remote1)
    slot[4] = key.ends
    slot[Self.packets] = usage.packets
    slot[Self.bytes] = usage.bytes
    slot[Self.stamp] = stamp.bits
  }

  private mutating func grow() -> Bool {
    guard let memory = Self.allocate(capacity * 2) else { return false }
    let (old, oldCapacity) = (slots, capacity)
    slots = memory
    capacity *= 2
    mask = UInt64(capacity - 1)
    for place in 0..<oldCapacity {
      let slot = old + place * Self.slotWords
      guard slot[Self.stamp] != 0 else { continue }
      insert(Self.words(slot), StampWord(bits: slot[Self.stamp]), Self.usage(slot))
    }
    free(old)
    return true
  }

  /// Removes a flow.
  ///
  /// - Returns: its last count, nil where it was not there.
  mutating func remove(_ key: FlowWords) -> Usage? {
    guard let slot = find(key) else { return nil }
    let usage = Self.usage(slot)
    var hole = UInt64((slot - slots) / Self.slotWords)
    // What stands behind moves up, so that no probe ends at the hole before it reaches its flow.
    var place = hole
    while true {
      place = (place + 1) & mask
      let next = slots + Int(place) * Self.slotWords
      guard next[Self.stamp] != 0 else { break }
      let home = hash(Self.words(next)) & mask
      // Whether its home is at the hole or before it, round the end of the table.
      guard (place &- home) & mask >= (place &- hole) & mask else { continue }
      memcpy(slots + Int(hole) * Self.slotWords, next, Self.slotBytes)
      hole = place
    }
    memset(slots + Int(hole) * Self.slotWords, 0, Self.slotBytes)
    count -= 1
    return usage
  }
}
