internal import CTable
internal import Flow
internal import Glibc
internal import Linux

/// The program's global variables, mapped into this process: switches that take effect with the next packet, and
/// counters that are read without a system call.
struct ControlBlock: ~Copyable {
  private let memory: UnsafeMutableRawPointer
  private static let portBytes = 1 << (Int(MARKER_PORT_BITS) - 3)
  private static let exclusionBytes = Int(MARKER_EXCLUDED_PORT_BYTES)
  private static let size = MemoryLayout<marker_control>.stride + portBytes + exclusionBytes

  /// - Parameter map: the descriptor of the object's `.bss` map.
  init(map: Int32) throws(BPFError) {
    let memory = mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0)
    guard let memory, memory != MAP_FAILED else { throw .map(SystemError("mmap", "the program's variables")) }
    self.memory = memory
  }

  deinit { munmap(memory, Self.size) }

  private var control: UnsafeMutablePointer<marker_control> {
    memory.assumingMemoryBound(to: marker_control.self)
  }

  /// `MARKER_FLOWS_…` and `MARKER_ALL_…`: what there is to do.
  var active: UInt32 {
    get { control.pointee.active }
    nonmutating set { control.pointee.active = newValue }
  }

  /// When marking ends, in nanoseconds of CLOCK_MONOTONIC; 0 for not at all.
  var expires: UInt64 {
    get { control.pointee.expires }
    nonmutating set { control.pointee.expires = newValue }
  }

  /// Packets that were to be stamped and left as they were, because they could not be made writable or had extension
  /// headers of their own.
  var unwritable: UInt64 { control.pointee.unwritable }

  /// Packets that were to get an extension header and left as they were, because it would have made them too big.
  var tooBig: UInt64 { control.pointee.too_big }

  /// `MARKER_EXCLUDE_…`: what packets of no flow are compared with before the mark-all scope takes them.
  var excludes: UInt32 {
    get { control.pointee.excludes }
    nonmutating set { control.pointee.excludes = newValue }
  }

  /// Sets the ports that the mark-all scope leaves alone. A port that was among them and stays is so all the time.
  func setExcludedPorts(_ ranges: [PortRange]) {
    let bytes = memory + MemoryLayout<marker_control>.stride + Self.portBytes
    var wanted = [UInt8](repeating: 0, count: Self.exclusionBytes)
    for range in ranges { for port in range.first...range.last { wanted[Int(port >> 3)] |= 1 << (port & 7) } }
    for (offset, byte) in wanted.enumerated() {
      bytes.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
    }
  }

  /// Sets the marks of the mark-all scope. Their counters begin at 0.
  func setScope(ipv6: marker_value, ipv4: marker_value) {
    control.pointee.all_ipv6 = ipv6
    control.pointee.all_ipv4 = ipv4
  }

  /// What the mark-all scope has counted, both families together.
  var scopeUsage: Usage {
    let (six, four) = (control.pointee.all_ipv6, control.pointee.all_ipv4)
    return Usage(packets: six.packets + four.packets, bytes: six.bytes + four.bytes)
  }

  /// Sets or clears the bit that a pair of ports hashes to.
  func setPortBit(_ bit: UInt32, _ on: Bool) {
    let byte = memory + MemoryLayout<marker_control>.stride + Int(bit >> 3)
    let flag = UInt8(1) << UInt8(bit & 7)
    let old = byte.load(as: UInt8.self)
    byte.storeBytes(of: on ? old | flag : old & ~flag, as: UInt8.self)
  }
}
