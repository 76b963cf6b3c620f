internal import CXDP
internal import Glibc
internal import Linux

/// The memory that packets lie in while AF_XDP moves them (UMEM), and the books of who has which frame: nobody, the kernel
/// for receiving, or the kernel for sending. A frame that is where the books do not have it is counted, and not used.
struct FrameMemory: ~Copyable {
  /// Bytes of a frame. The kernel leaves 256 before each packet (XDP_PACKET_HEADROOM, <linux/bpf.h>).
  static let frameSize = 4096
  static let longest = UInt32(frameSize - 256)

  private enum Holder: UInt8 { case nobody, receiving, sending }

  let mapping: Mapping
  let count: Int
  private let holders: UnsafeMutablePointer<UInt8>
  /// The frames that nobody has, as a stack.
  private let stack: UnsafeMutablePointer<UInt64>
  private(set) var free: Int
  private(set) var receiving = 0
  private(set) var sending = 0
  private(set) var faults = 0

  init(frames count: Int) throws(SystemError) {
    mapping = try Mapping(
      "packet memory", size: count * Self.frameSize, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE)
    self.count = count
    holders = .allocate(capacity: count)
    holders.initialize(repeating: Holder.nobody.rawValue, count: count)
    stack = .allocate(capacity: count)
    for frame in 0..<count { (stack + frame).initialize(to: UInt64(frame * Self.frameSize)) }
    free = count
  }

  deinit {
    holders.deallocate()
    stack.deallocate()
  }

  private static func frame(_ address: UInt64) -> Int {
    // With the offset of unaligned chunks cut off, which are not used here (XSK_UNALIGNED_BUF_OFFSET_SHIFT).
    Int(truncatingIfNeeded: address & (1 << 48 - 1)) / frameSize
  }

  private mutating func move(_ address: UInt64, from: Holder, to: Holder) -> Bool {
    let frame = Self.frame(address)
    guard frame < count, holders[frame] == from.rawValue else {
      faults += 1
      return false
    }
    holders[frame] = to.rawValue
    return true
  }

  /// A frame for the kernel to receive into; nil where all are in use.
  mutating func lend() -> UInt64? {
    guard free > 0 else { return nil }
    free -= 1
    let address = stack[free]
    guard move(address, from: .nobody, to: .receiving) else { return nil }
    receiving += 1
    return address
  }

  /// A frame that the kernel has received into and that is sent from.
  ///
  /// - Returns: false where the kernel had no business with it.
  mutating func pass(_ address: UInt64) -> Bool {
    guard move(address, from: .receiving, to: .sending) else { return false }
    receiving -= 1
    sending += 1
    return true
  }

  /// A frame that was sent.
  mutating func giveBack(_ address: UInt64) {
    guard move(address, from: .sending, to: .nobody) else { return }
    sending -= 1
    stack[free] = UInt64(Self.frame(address) * Self.frameSize)
    free += 1
  }
}
