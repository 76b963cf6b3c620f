internal import CTable
internal import Flow
internal import Glibc

/// How many flows share each bit of the program's port filter: a bit is cleared when its last flow goes.
struct PortFilter: ~Copyable {
  private let counts: UnsafeMutablePointer<UInt16>
  private static let bits = 1 << Int(MARKER_PORT_BITS)

  init() {
    // calloc's pages are not there until they are written to: an idle daemon pays nothing for them.
    guard let memory = calloc(Self.bits, MemoryLayout<UInt16>.stride) else {
      preconditionFailure("no memory for the port filter")
    }
    counts = memory.bindMemory(to: UInt16.self, capacity: Self.bits)
  }

  deinit { free(counts) }

  static func bit(of key: FlowKey) -> UInt32 {
    // As the packet carries them: the local port first, both in network order.
    let ports = UInt32(key.local.port.bigEndian) | UInt32(key.remote.port.bigEndian) << 16
    return marker_port_bit(UInt32(littleEndian: ports))
  }

  /// Whether a flow has the bit.
  func isTaken(_ bit: UInt32) -> Bool { counts[Int(bit)] != 0 }

  /// Whether the bit is to be set.
  mutating func insert(_ bit: UInt32) -> Bool {
    // A count that is full stays so: the bit is then never cleared, which costs look-ups and no mark.
    if counts[Int(bit)] != .max { counts[Int(bit)] += 1 }
    return counts[Int(bit)] == 1
  }

  /// Whether the bit is to be cleared.
  mutating func remove(_ bit: UInt32) -> Bool {
    guard counts[Int(bit)] != 0, counts[Int(bit)] != .max else { return false }
    counts[Int(bit)] -= 1
    return counts[Int(bit)] == 0
  }
}
