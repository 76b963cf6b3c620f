import CLinux
import Glibc
import Linux

/// Captures packets at an interface by a packet socket (packet(7)), both those that come in and those that leave. The
/// latter are seen behind tc's hooks, as they go to the device.
///
/// Allocates nothing for a packet.
final class LiveCapture {
  let interface: CaptureInterface
  /// Packets that the kernel had no room for.
  private(set) var dropped: UInt64 = 0
  private let socket: Descriptor
  private let memory: Mapping
  private let messages: UnsafeMutablePointer<clinux_mmsghdr>
  private let vectors: UnsafeMutablePointer<iovec>
  private let addresses: UnsafeMutablePointer<sockaddr_ll>
  private let stride: Int
  private let wanted: CapturedPacket.Direction?
  private let isEthernet: Bool
  /// Each packet of the loopback interface is seen twice, as it leaves and as it comes in.
  private let isLoopback: Bool

  /// Packets that are taken at once.
  private static let burst = 64
  /// For a tag that the kernel keeps beside the packet.
  private static let tagBytes = 4
  /// Two control messages: tpacket_auxdata and a time, each behind a header of 16 bytes.
  private static let controlBytes = 96
  /// The kernel's largest super-packet with its link header.
  static let snapLengths = 64...262_144

  /// - Parameters:
  ///   - snapLength: the most bytes of a packet that are kept, of `snapLengths`.
  ///   - isPromiscuous: whether the card is told to let frames for others in.
  init(
    _ name: String, snapLength: Int, isPromiscuous: Bool, direction: CapturedPacket.Direction?
  ) throws(SystemError) {
    guard let found = try Interface.all().first(where: { $0.name == name }) else {
      throw SystemError("find the interface", name, code: ENODEV)
    }
    guard let header = found.linkHeader else {
      throw SystemError("capture at \(name): link layer", "\(found.hardwareType)", code: EPFNOSUPPORT)
    }
    isEthernet = header == .ethernet
    isLoopback = found.isLoopback
    interface = CaptureInterface(
      name: name, link: (isEthernet ? LinkType.ethernet : .raw).rawValue, snapLength: UInt32(snapLength),
      ticksPerSecond: 1_000_000_000)
    wanted = direction
    let made = try Self.open(found, snapLength, isPromiscuous)
    stride = (Self.controlBytes + Self.tagBytes + snapLength + 63) & ~63
    let memory = try Mapping("packet memory", size: Self.burst * stride, flags: MAP_PRIVATE | MAP_ANONYMOUS)
    messages = .allocate(capacity: Self.burst)
    vectors = .allocate(capacity: Self.burst)
    addresses = .allocate(capacity: Self.burst)
    for place in 0..<Self.burst {
      let control = memory.start + place * stride
      (vectors + place).initialize(
        to: iovec(iov_base: control + Self.controlBytes + Self.tagBytes, iov_len: snapLength))
      (addresses + place).initialize(to: sockaddr_ll())
      var message = clinux_mmsghdr()
      message.msg_hdr.msg_iov = vectors + place
      message.msg_hdr.msg_iovlen = 1
      message.msg_hdr.msg_control = control
      message.msg_hdr.msg_name = UnsafeMutableRawPointer(addresses + place)
      (messages + place).initialize(to: message)
    }
    self.memory = memory
    socket = made
  }

  deinit {
    messages.deallocate()
    vectors.deallocate()
    addresses.deallocate()
  }

  private static func open(
    _ interface: Interface, _ snapLength: Int, _ isPromiscuous: Bool
  ) throws(SystemError) -> Descriptor {
    // Without a protocol until all is set, so that no packet comes before.
    let made = try Descriptor("socket", "AF_PACKET") {
      Glibc.socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    // BPF_RET | BPF_K: the kernel keeps no more of a packet than this.
    var instruction = sock_filter(code: 0x06, jt: 0, jf: 0, k: UInt32(snapLength))
    try withUnsafeMutablePointer(to: &instruction) { start throws(SystemError) in
      var program = sock_fprog(len: 1, filter: start)
      try set(made.raw, SOL_SOCKET, SO_ATTACH_FILTER, &program, "SO_ATTACH_FILTER")
    }
    var (on, memory): (Int32, Int32) = (1, 64 << 20)
    try set(made.raw, SOL_PACKET, PACKET_AUXDATA, &on, "PACKET_AUXDATA")
    try set(made.raw, SOL_SOCKET, timeOption, &on, "SO_TIMESTAMPNS")
    try set(made.raw, SOL_SOCKET, SO_RCVBUFFORCE, &memory, "SO_RCVBUFFORCE")
    if isPromiscuous {
      var membership = packet_mreq()
      membership.mr_ifindex = Int32(interface.index)
      membership.mr_type = UInt16(PACKET_MR_PROMISC)
      try set(made.raw, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, "PACKET_MR_PROMISC")
    }
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
    address.sll_ifindex = Int32(interface.index)
    try system("bind", interface.name) {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(made.raw, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
        }
      }
    }
    return made
  }

  private static func set<T: BitwiseCopyable>(
    _ socket: Int32, _ level: Int32, _ option: Int32, _ value: inout T, _ name: String
  ) throws(SystemError) {
    try system("setsockopt", name) {
      setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<T>.size))
    }
  }

  /// Waits for packets and hands out those that are there. A frame is valid within the call of the body.
  ///
  /// - Parameter milliseconds: the longest wait.
  /// - Throws: `ENETDOWN` where the interface is down or gone, and what the body throws.
  func turn<E: Error>(
    milliseconds: Int32, _ body: (CapturedPacket) throws(E) -> Void
  ) throws -> Int {
    var ready = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
    let polled = poll(&ready, 1, milliseconds)
    guard polled > 0 else {
      if polled < 0, errno != EINTR { throw SystemError("poll", interface.name) }
      return 0
    }
    for place in 0..<Self.burst {
      messages[place].msg_hdr.msg_controllen = Self.controlBytes
      messages[place].msg_hdr.msg_namelen = socklen_t(MemoryLayout<sockaddr_ll>.size)
    }
    let received = clinux_recvmmsg(socket.raw, messages, UInt32(Self.burst), Int32(MSG_DONTWAIT))
    guard received > 0 else {
      if errno == EAGAIN || errno == EINTR { return 0 }
      throw SystemError("capture at", interface.name)
    }
    for place in 0..<Int(received) {
      let isOutgoing = addresses[place].sll_pkttype == UInt8(PACKET_OUTGOING)
      if isOutgoing, isLoopback { continue }
      let direction: CapturedPacket.Direction = isOutgoing ? .outgoing : .incoming
      if let wanted, wanted != direction, !isLoopback { continue }
      try body(packet(place, direction))
    }
    return Int(received)
  }

  private func packet(_ place: Int, _ direction: CapturedPacket.Direction) -> CapturedPacket {
    var start = memory.start + place * stride + Self.controlBytes + Self.tagBytes
    var count = Int(messages[place].msg_len)
    var packet = CapturedPacket(
      frame: UnsafeRawBufferPointer(start: start, count: count), length: count, time: 0, interface: 0,
      direction: direction)
    let control = memory.start + place * stride
    // struct cmsghdr: the length with the header (8 bytes), the level (4), the type (4), each at a multiple of 8.
    var (at, end) = (0, Int(messages[place].msg_hdr.msg_controllen))
    end = min(end, Self.controlBytes)
    var tag: (id: UInt16, type: UInt16)?
    while at + 16 <= end {
      let length = control.load(fromByteOffset: at, as: Int.self)
      guard length >= 16, at + length <= end else { break }
      let level = control.load(fromByteOffset: at + 8, as: Int32.self)
      let type = control.load(fromByteOffset: at + 12, as: Int32.self)
      if level == SOL_PACKET, type == PACKET_AUXDATA, length >= 16 + MemoryLayout<tpacket_auxdata>.size {
        let data = control.load(fromByteOffset: at + 16, as: tpacket_auxdata.self)
        packet.length = max(Int(data.tp_len), count)
        packet.checksum = Self.checksum(data.tp_status)
        if data.tp_status & UInt32(TP_STATUS_VLAN_VALID) != 0 {
          let hasType = data.tp_status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
          tag = (data.tp_vlan_tci, hasType ? data.tp_vlan_tpid : 0x8100)
        }
      } else if level == SOL_SOCKET, type == Self.timeOption, length >= 16 + MemoryLayout<timespec>.size {
        let time = control.load(fromByteOffset: at + 16, as: timespec.self)
        packet.time = Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
      }
      at += (length + 7) & ~7
    }
    if let tag, isEthernet, count >= 12 {
      // Back to where it stands on the wire: behind the two hardware addresses.
      start -= Self.tagBytes
      memmove(start, start + Self.tagBytes, 12)
      start.storeBytes(of: tag.type.bigEndian, toByteOffset: 12, as: UInt16.self)
      start.storeBytes(of: tag.id.bigEndian, toByteOffset: 14, as: UInt16.self)
      count += Self.tagBytes
      packet.length += Self.tagBytes
    }
    packet.frame = UnsafeRawBufferPointer(start: start, count: count)
    return packet
  }

  private static func checksum(_ status: UInt32) -> CapturedPacket.Checksum {
    if status & UInt32(TP_STATUS_CSUMNOTREADY) != 0 { return .unfinished }
    return status & UInt32(TP_STATUS_CSUM_VALID) != 0 ? .valid : .unknown
  }

  /// Asks the kernel what it dropped since it was asked last, and adds it up.
  func countDrops() {
    var statistics = tpacket_stats()
    var size = socklen_t(MemoryLayout<tpacket_stats>.size)
    guard getsockopt(socket.raw, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0 else { return }
    dropped += UInt64(statistics.tp_drops)
  }

  /// SO_TIMESTAMPNS_OLD of <asm-generic/socket.h>, which is what 64-bit hosts use; also the type of its message.
  private static let timeOption: Int32 = 35
}
