internal import CTable
internal import Glibc
internal import Linux

/// The variables of an inline program, mapped into this process.
///
/// Sendable: the packet thread writes the lease and nothing else, the table's writer all other words, and each is read and
/// written whole.
final class InlineControl: @unchecked Sendable {
  private let memory: UnsafeMutableRawPointer
  private static let size = MemoryLayout<marker_inline>.stride + 1 << (Int(MARKER_PORT_BITS) - 3)

  /// - Parameter map: the descriptor of the object's `.bss` map.
  init(map: Int32) throws(BPFError) {
    let memory = mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0)
    guard let memory, memory != MAP_FAILED else { throw .map(SystemError("mmap", "the program's variables")) }
    self.memory = memory
  }

  deinit { munmap(memory, Self.size) }

  private var control: UnsafeMutablePointer<marker_inline> {
    memory.assumingMemoryBound(to: marker_inline.self)
  }

  /// `MARKER_FLOWS_…` and `MARKER_ALL_…`: what there is to do.
  func setActive(_ active: UInt32) { control.pointee.active = active }

  /// - Parameters:
  ///   - inside, sink: indexes of interfaces.
  ///   - longest: frames beyond so many bytes stay with the bridge, super-packets aside.
  func setUp(inside: UInt32, sink: UInt32, longest: UInt32) {
    control.pointee.inside = inside
    control.pointee.sink = sink
    control.pointee.longest = longest
  }

  /// Packets are handed over for so many nanoseconds from now on; 0 ends it at once.
  func renewLease(for nanoseconds: UInt64) {
    var time = timespec()
    // What bpf_ktime_get_ns reads.
    clock_gettime(CLOCK_MONOTONIC, &time)
    let now = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    control.pointee.lease = nanoseconds == 0 ? 0 : now + nanoseconds
  }

  /// Packets that were handed over.
  var taken: UInt64 { control.pointee.taken }

  /// Packets of ours that are longer than the thread takes, and went by the bridge, unmarked.
  var tooLong: UInt64 { control.pointee.too_long }

  /// Sets or clears the bit that a pair of ports hashes to.
  func setPortBit(_ bit: UInt32, _ on: Bool) {
    let byte = memory + MemoryLayout<marker_inline>.stride + Int(bit >> 3)
    let flag = UInt8(1) << UInt8(bit & 7)
    let old = byte.load(as: UInt8.self)
    byte.storeBytes(of: on ? old | flag : old & ~flag, as: UInt8.self)
  }
}
