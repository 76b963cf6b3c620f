public import Flow
import Synchronization

/// What the listener and the emitter have to know of each other, so that no firefly goes in circles: which fireflies
/// left here, and who sends some.
///
/// Safe to use from any thread.
public final class HeardFireflies: Sendable {
  /// Digests that are remembered: half a second of the most that a listener takes. A power of two.
  private static let capacity = 1 << 16
  /// Digests whose low bits are alike stand in one row, the latest first; the last one goes when another comes. With
  /// rows of one, two fireflies of a thousand under way would often meet.
  private static let row = 8
  /// Senders that are remembered.
  private static let senderLimit = 4096

  /// Rows of digests, empty until there is one.
  private let digests = Mutex(ContiguousArray<UInt64>())
  private let senders = Mutex(Set<Address>())
  private let seed: UInt64

  public init() { seed = UInt64.random(in: 1...UInt64.max) }

  /// Notes the JSON of a firefly that leaves here.
  func note(_ json: Span<UInt8>) {
    let digest = digest(json)
    digests.withLock { digests in Self.insert(digest, into: &digests) }
  }

  /// Whether this JSON left here lately: it came back, because a collector or another relay sends it on, or because a
  /// flow's remote end is this host.
  ///
  /// - Parameter andNotes: it leaves here now.
  public func isEcho(_ json: Span<UInt8>, andNotes notes: Bool) -> Bool {
    let digest = digest(json)
    return digests.withLock { digests in
      if !digests.isEmpty {
        let first = Self.first(of: digest)
        for place in first..<first + Self.row where digests[place] == digest { return true }
      }
      if notes { Self.insert(digest, into: &digests) }
      return false
    }
  }

  /// Where the row of a digest begins.
  private static func first(of digest: UInt64) -> Int {
    Int(truncatingIfNeeded: digest) & (capacity - 1) & ~(row - 1)
  }

  private static func insert(_ digest: UInt64, into digests: inout ContiguousArray<UInt64>) {
    if digests.isEmpty { digests = ContiguousArray(repeating: 0, count: capacity) }
    let first = first(of: digest)
    for place in (first + 1..<first + row).reversed() { digests[place] = digests[place - 1] }
    digests[first] = digest
  }

  /// Notes who sent a firefly. On loopback an address tells nobody from others.
  public func note(sender: Address) {
    guard !sender.isLoopback else { return }
    senders.withLock { senders in
      if senders.count < Self.senderLimit || senders.contains(sender) { senders.insert(sender) }
    }
  }

  func isSender(_ address: Address) -> Bool { senders.withLock { $0.contains(address) } }

  /// Keyed, because peers choose what is digested.
  private func digest(_ json: Span<UInt8>) -> UInt64 {
    json.withUnsafeBytes { bytes in
      var digest = seed ^ UInt64(bytes.count)
      var offset = 0
      while offset < bytes.count {
        var word: UInt64 = 0
        if bytes.count - offset >= 8 {
          word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        } else {
          for index in offset..<bytes.count { word = word << 8 | UInt64(bytes[index]) }
        }
        let product = (digest ^ word).multipliedFullWidth(by: 0x9e37_79b9_7f4a_7c15 ^ seed << 1 | 1)
        digest = product.high ^ product.low &+ word
        offset += 8
      }
      // 0 is a free place.
      return max(digest, 1)
    }
  }
}
