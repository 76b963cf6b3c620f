/// The memory of the flow table: flows side by side in chunks, found through an open-addressing index.
///
/// Chunks keep memory in proportion to the flows and never move a flow when the table grows. The index is
/// probed linearly and has no tombstones: a removal shifts the entries behind it back. Keys are hashed with a
/// seed of their own per store, because peers choose them.
struct FlowStore: ~Copyable {
  /// Flows in a chunk: about 500 KB.
  static let chunkSize = 4096

  private(set) var count = 0
  private var chunks: ContiguousArray<UnsafeMutablePointer<Flow>> = []
  /// One entry a slot: the hash's upper half, and the flow's position plus one; 0 is a free slot.
  private var index: UnsafeMutablePointer<UInt64>
  /// The number of slots less one; the number is a power of two.
  private var indexMask: Int
  private let seed: UInt64

  init(seed: UInt64) {
    self.seed = seed
    indexMask = 1023
    index = .allocate(capacity: indexMask + 1)
    index.initialize(repeating: 0, count: indexMask + 1)
  }

  deinit {
    index.deallocate()
    for chunk in chunks { chunk.deallocate() }
  }

  /// The position of a key, valid until the next insertion or removal.
  func position(of key: FlowKey) -> Int? {
    slot(of: key, hash(key)).map { Self.position(index[$0]) }
  }

  subscript(position: Int) -> Flow {
    unsafeAddress { UnsafePointer(address(position)) }
    unsafeMutableAddress { address(position) }
  }

  /// Adds a flow whose key is not there.
  mutating func insert(_ flow: Flow) {
    // At most three quarters of the slots in use keeps probes short.
    if (count + 1) * 4 > (indexMask + 1) * 3 { growIndex() }
    if count == chunks.count * Self.chunkSize {
      chunks.append(.allocate(capacity: Self.chunkSize))
    }
    address(count).initialize(to: flow)
    count += 1
    occupy(hash(flow.key), position: count - 1)
  }

  /// Removes the flow at a position; the last flow takes its place.
  mutating func remove(at position: Int) {
    let key = address(position).pointee.key
    if let slot = slot(of: key, hash(key)) { release(slot) }
    let last = count - 1
    if position != last {
      let moved = address(last).pointee
      if let slot = slot(of: moved.key, hash(moved.key)) {
        index[slot] = index[slot] & Self.hashPart | UInt64(position + 1)
      }
      address(position).pointee = moved
    }
    count = last
    // One empty chunk is kept, so that a count around a boundary does not allocate each time.
    if count + 2 * Self.chunkSize <= chunks.count * Self.chunkSize {
      chunks.removeLast().deallocate()
    }
  }

  private func address(_ position: Int) -> UnsafeMutablePointer<Flow> {
    chunks[position / Self.chunkSize] + position % Self.chunkSize
  }

  private static let hashPart: UInt64 = 0xffff_ffff_0000_0000
  private static func position(_ entry: UInt64) -> Int { Int(entry & 0xffff_ffff) - 1 }

  private func slot(of key: FlowKey, _ hash: UInt64) -> Int? {
    var slot = Int(truncatingIfNeeded: hash) & indexMask
    while index[slot] != 0 {
      if (index[slot] ^ hash) & Self.hashPart == 0,
        address(Self.position(index[slot])).pointee.key == key
      {
        return slot
      }
      slot = (slot + 1) & indexMask
    }
    return nil
  }

  private mutating func occupy(_ hash: UInt64, position: Int) {
    var slot = Int(truncatingIfNeeded: hash) & indexMask
    while index[slot] != 0 { slot = (slot + 1) & indexMask }
    index[slot] = hash & Self.hashPart | UInt64(position + 1)
  }

  /// Frees a slot and moves back those behind it that would not be found any more.
  private mutating func release(_ freed: Int) {
    var hole = freed
    var slot = (freed + 1) & indexMask
    while index[slot] != 0 {
      let home =
        Int(truncatingIfNeeded: hash(address(Self.position(index[slot])).pointee.key)) & indexMask
      // The entry may move into the hole if its home is not between the hole and itself.
      if (slot - home) & indexMask >= (slot - hole) & indexMask {
        index[hole] = index[slot]
        hole = slot
      }
      slot = (slot + 1) & indexMask
    }
    index[hole] = 0
  }

  private mutating func growIndex() {
    index.deallocate()
    indexMask = indexMask * 2 + 1
    index = .allocate(capacity: indexMask + 1)
    index.initialize(repeating: 0, count: indexMask + 1)
    for position in 0..<count {
      occupy(hash(address(position).pointee.key), position: position)
    }
  }

  func hash(_ key: FlowKey) -> UInt64 {
    let ports =
      UInt64(key.local.port) << 32 | UInt64(key.remote.port) << 8 | UInt64(key.transport.rawValue)
    var hash = Self.fold(seed ^ key.local.address.low, 0x9e37_79b9_7f4a_7c15 ^ key.remote.address.low)
    hash = Self.fold(hash ^ key.local.address.high, 0xa076_1d64_78bd_642f ^ key.remote.address.high)
    return Self.fold(hash ^ ports, 0xe703_7ed1_a0b4_28db ^ seed)
  }

  /// Both halves of the 128-bit product, folded: every input bit reaches every output bit.
  private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }
}
