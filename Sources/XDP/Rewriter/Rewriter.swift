internal import Flow
internal import Glibc

/// A frame in the packet thread's memory, from the Ethernet header on.
struct PacketFrame {
  var start: UnsafeMutableRawPointer
  /// Bytes. Everything that is read lies within.
  var length: Int
  /// Of a super-packet: the payload of each segment, bytes. 0 for what leaves as it is.
  var segmentSize: Int
}

/// Marks frames in place, by the same rules as bpf/egress.h. Belongs to one thread; allocates nothing for a packet.
struct Rewriter: ~Copyable {
  private(set) var table: RewriterTable
  private var fragments = FragmentMemory()
  /// The mark-all scope by family, nothing where its bits are 0.
  private var scope6 = StampWord(bits: 0)
  private var scope4 = StampWord(bits: 0)
  /// What the scope leaves alone. Whether there is anything, so that the common loop need not look into it.
  private var exclusions = ScopeExclusions(.none)
  private var excludes = false
  /// Two counts as a slot has them, so that one function counts both.
  private let scopeCounts: UnsafeMutablePointer<UInt64>
  /// The places of the frames of a burst that are not of the common shape.
  private let others: UnsafeMutablePointer<Int32>
  /// The most frames in a burst.
  static let burst = 64

  init(seed: UInt64) {
    table = RewriterTable(seed: seed)
    scopeCounts = .allocate(capacity: RewriterTable.slotWords)
    scopeCounts.initialize(repeating: 0, count: RewriterTable.slotWords)
    others = .allocate(capacity: Self.burst)
    others.initialize(repeating: 0, count: Self.burst)
  }

  deinit {
    scopeCounts.deallocate()
    others.deallocate()
  }

  mutating func set(_ key: FlowWords, _ stamp: StampWord, counted usage: Usage) -> Bool {
    table.set(key, stamp, counted: usage)
  }

  mutating func remove(_ key: FlowWords) -> Usage? { table.remove(key) }

  func has(_ key: FlowWords) -> Bool { table.find(key) != nil }

  mutating func setScope(ipv6: StampWord?, ipv4: StampWord?, except exclusions: ScopeExclusions) {
    scope6 = ipv6 ?? StampWord(bits: 0)
    scope4 = ipv4 ?? StampWord(bits: 0)
    self.exclusions = exclusions
    excludes = !exclusions.isEmpty
  }

  /// Marks a burst of at most `burst` frames.
  ///
  /// First all of the common shape, in a loop without a call; the others after them.
  mutating func rewrite(_ frames: UnsafePointer<PacketFrame>, _ count: Int) {
    let uncommon = rewriteAllCommon(frames, min(count, Self.burst))
    for place in 0..<uncommon { rewriteOther(frames[Int(others[place])]) }
  }

  /// The loop, a function of its own so that `scripts/check-rewriter` finds it: it calls nothing.
  ///
  /// - Returns: how many are not of the common shape; `others` has their places.
  @inline(never)
  private func rewriteAllCommon(_ frames: UnsafePointer<PacketFrame>, _ count: Int) -> Int {
    var uncommon = 0
    var place = 0
    while place < count {
      if !rewriteCommon(frames[place]) {
        others[uncommon] = Int32(truncatingIfNeeded: place)
        uncommon &+= 1
      }
      place &+= 1
    }
    return uncommon
  }

  /// Ethernet without a tag, no IP option or extension header, not a fragment, not a super-packet; and none that mark-all
  /// may have to leave alone.
  ///
  /// - Returns: false for all else.
  @inline(__always)
  private func rewriteCommon(_ frame: PacketFrame) -> Bool {
    let start = frame.start
    // An IPv4 header and the ports behind it; IPv6 asks for more below.
    guard frame.length >= 14 + 20 + 4, frame.segmentSize == 0 else { return false }
    let etherType = UInt16(bigEndian: start.loadUnaligned(fromByteOffset: 12, as: UInt16.self))
    if etherType == 0x86dd {
      let word = UInt32(bigEndian: start.loadUnaligned(fromByteOffset: 14, as: UInt32.self))
      let next = start.load(fromByteOffset: 20, as: UInt8.self)
      guard frame.length >= 14 + 40 + 4, word >> 28 == 6, PacketShape.hasPorts(next) else { return false }
      let ends = FlowWords.ends(
        ports: start.loadUnaligned(fromByteOffset: 54, as: UInt32.self), transport: next)
      let key = FlowWords(
        start.loadUnaligned(fromByteOffset: 22, as: UInt64.self),
        start.loadUnaligned(fromByteOffset: 30, as: UInt64.self),
        start.loadUnaligned(fromByteOffset: 38, as: UInt64.self),
        start.loadUnaligned(fromByteOffset: 46, as: UInt64.self), ends: ends)
      let new: UInt32
      if let slot = table.find(key) {
        new = RewriterTable.stamp(slot).apply(ipv6: word, entropy: nil)
        RewriterTable.count(slot, packets: 1, bytes: frame.length &- 14)
      } else {
        guard scope6.bits != 0 else { return true }
        guard !excludes else { return false }
        new = scope6.apply(ipv6: word, entropy: Self.entropy(key))
        RewriterTable.count(scopeCounts, packets: 1, bytes: frame.length &- 14)
      }
      if new != word { start.storeBytes(of: new.bigEndian, toByteOffset: 14, as: UInt32.self) }
      return true
    }
    guard etherType == 0x0800 else { return false }
    let first = UInt16(bigEndian: start.loadUnaligned(fromByteOffset: 14, as: UInt16.self))
    let next = start.load(fromByteOffset: 23, as: UInt8.self)
    let position = UInt16(bigEndian: start.loadUnaligned(fromByteOffset: 20, as: UInt16.self))
    guard first >> 8 == 0x45, position & 0x3fff == 0, PacketShape.hasPorts(next) else { return false }
    let ends = FlowWords.ends(
      ports: start.loadUnaligned(fromByteOffset: 34, as: UInt32.self), transport: next)
    let key = FlowWords(
      0, FlowWords.mapped(start.loadUnaligned(fromByteOffset: 26, as: UInt32.self)), 0,
      FlowWords.mapped(start.loadUnaligned(fromByteOffset: 30, as: UInt32.self)), ends: ends)
    var stamp = scope4
    var counts = scopeCounts
    if let slot = table.find(key) {
      stamp = RewriterTable.stamp(slot)
      counts = slot
    } else if excludes, stamp.bits != 0 {
      return false
    }
    guard stamp.bits != 0 else { return true }
    Self.stampIPv4(start + 14, first, stamp)
    RewriterTable.count(counts, packets: 1, bytes: frame.length &- 14)
    return true
  }

  /// Any shape of packet, and super-packets.
  private mutating func rewriteOther(_ frame: PacketFrame) {
    guard let shape = PacketShape(frame.start, frame.length), let found = slot(of: shape) else { return }
    let header = frame.start + shape.network
    if shape.isIPv6 {
      let word = UInt32(bigEndian: header.loadUnaligned(as: UInt32.self))
      let new = found.stamp.apply(ipv6: word, entropy: found.isScope ? Self.entropy(shape.key) : nil)
      if new != word { header.storeBytes(of: new.bigEndian, as: UInt32.self) }
    } else {
      Self.stampIPv4(header, UInt16(bigEndian: header.loadUnaligned(as: UInt16.self)), found.stamp)
    }
    var (packets, bytes) = (1, frame.length - shape.network)
    let headers = shape.headerBytes(frame.start, frame.length)
    let payload = bytes - headers
    if frame.segmentSize > 0, headers > 0, payload > frame.segmentSize {
      packets = (payload + frame.segmentSize - 1) / frame.segmentSize
      bytes += (packets - 1) * headers
    }
    RewriterTable.count(found.slot, packets: packets, bytes: bytes)
  }

  /// Where a packet is counted and what is stamped on it. A first fragment leaves its ports for those behind it, or takes
  /// away what an older packet with the same identification has left.
  private mutating func slot(
    of shape: PacketShape
  ) -> (slot: RewriterTable.Slot, stamp: StampWord, isScope: Bool)? {
    var key = shape.key
    var slot: RewriterTable.Slot?
    if shape.isLater {
      if let ends = fragments.ends(key, shape.identification) {
        key.ends = ends
        slot = table.find(key)
      }
    } else {
      slot = table.find(key)
      if shape.isFragment {
        if slot != nil {
          fragments.keep(key, shape.identification)
        } else {
          fragments.forget(key, shape.identification)
        }
      }
    }
    if let slot { return (slot, RewriterTable.stamp(slot), false) }
    let scope = shape.isIPv6 ? scope6 : scope4
    guard scope.bits != 0, !isExcluded(key, shape) else { return nil }
    return (scopeCounts, scope, true)
  }

  /// Whether mark-all leaves a packet alone. A first fragment leaves its ports for those behind it.
  private mutating func isExcluded(_ key: FlowWords, _ shape: PacketShape) -> Bool {
    guard excludes else { return false }
    if exclusions.contains(networkOf: key, isIPv6: shape.isIPv6) { return true }
    guard exclusions.contains(portsOf: key) else { return false }
    if shape.isFragment, !shape.isLater { fragments.keep(key, shape.identification) }
    return true
  }

  /// Writes the TOS and the header's checksum for it.
  ///
  /// - Parameter old: the header's first two bytes.
  @inline(__always)
  private static func stampIPv4(_ header: UnsafeMutableRawPointer, _ old: UInt16, _ stamp: StampWord) {
    let new = old & 0xff00 | UInt16(stamp.trafficClass(UInt8(truncatingIfNeeded: old)))
    guard new != old else { return }
    // RFC 1624 equation 3: ~(~HC + ~m + m').
    let before = UInt16(bigEndian: header.loadUnaligned(fromByteOffset: 10, as: UInt16.self))
    var sum = UInt32(~before) &+ UInt32(~old) &+ UInt32(new)
    sum = sum & 0xffff &+ sum >> 16
    sum = sum & 0xffff &+ sum >> 16
    header.storeBytes(of: new.bigEndian, as: UInt16.self)
    header.storeBytes(of: (~UInt16(truncatingIfNeeded: sum)).bigEndian, toByteOffset: 10, as: UInt16.self)
  }

  /// The label's free bits for a packet without a label whose stamp many flows share: the same for all of its flow.
  @inline(__always)
  private static func entropy(_ key: FlowWords) -> UInt32 {
    var hash =
      key.local0 ^ key.local1 &* 0x9e37_79b9_7f4a_7c15 ^ key.remote0 ^ key.remote1 ^ key.ends &* 0x85eb_ca6b
    hash = (hash ^ hash >> 32) &* 0xbf58_476d_1ce4_e5b9
    return UInt32(truncatingIfNeeded: hash >> 40)
  }

  /// What the mark-all scope has stamped.
  var scopeUsage: Usage { RewriterTable.usage(scopeCounts) }
}
