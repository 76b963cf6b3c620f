import CLinux
public import Flow
import Glibc
public import Linux

/// A UDP socket that fireflies arrive at.
public struct ListeningSocket: ~Copyable, Sendable {
  public let address: Endpoint
  private let owner: Descriptor

  /// The kernel's buffer for what was not yet read, in bytes: some 5000 fireflies as the kernel counts them.
  public static let bufferSize: Int32 = 4 << 20

  /// - Parameter takesIPv4: at `::`, whether IPv4 comes to this socket too (ipv6(7), IPV6_V6ONLY). Without meaning at
  ///   all other addresses.
  /// - Parameter besideOthers: whether the address may overlap with those of sockets that are shared now.
  public init(at address: Endpoint, takesIPv4: Bool, besideOthers: Bool = false) throws(SystemError) {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let name = SocketAddress(address: address.address, port: address.port)
    let owner = try Descriptor("socket", "\(address)") { socket(name.family, type, 0) }
    let raw = owner.raw
    if besideOthers { try Self.set(raw, SOL_SOCKET, SO_REUSEADDR, 1) }
    if !address.address.isIPv4 { try Self.set(raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, takesIPv4 ? 0 : 1) }
    var storage = sockaddr_in6()
    var length = name.write(to: &storage)
    var size = Self.bufferSize
    // The forced size needs CAP_NET_ADMIN; the other is capped to net.core.rmem_max. Any size works.
    if setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size)) < 0 {
      _ = setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    try system("bind", "\(address)") {
      withUnsafeMutablePointer(to: &storage) { storage in
        storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { storage in
          bind(raw, storage, length) == 0 ? getsockname(raw, storage, &length) : -1
        }
      }
    }
    // From now on nobody else can take the address: UDP would let any program of the host share it.
    if besideOthers { try Self.set(raw, SOL_SOCKET, SO_REUSEADDR, 0) }
    // The port stands at the same place in both families' addresses.
    self.address = Endpoint(address.address, UInt16(bigEndian: storage.sin6_port))
    self.owner = owner
  }

  private static func set(
    _ raw: Int32, _ level: Int32, _ option: Int32, _ value: Int32
  ) throws(SystemError) {
    var value = value
    try system("setsockopt", "\(level)/\(option)") {
      setsockopt(raw, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
  }

  /// Whether another socket may be opened at an address that overlaps with this one's (socket(7), SO_REUSEADDR).
  public func setShared(_ isShared: Bool) {
    try? Self.set(owner.raw, SOL_SOCKET, SO_REUSEADDR, isShared ? 1 : 0)
  }

  /// Readable while datagrams wait.
  public var descriptor: Int32 { owner.raw }

  /// Datagrams that the kernel had no room for since the socket was opened; the count wraps.
  public var dropped: UInt32 {
    // SO_MEMINFO of <asm-generic/socket.h>, and SK_MEMINFO_DROPS, the last of nine words (<linux/sock_diag.h>).
    var words = InlineArray<9, UInt32>(repeating: 0)
    var size = socklen_t(MemoryLayout<InlineArray<9, UInt32>>.size)
    let status = withUnsafeMutableBytes(of: &words) {
      getsockopt(owner.raw, SOL_SOCKET, 55, $0.baseAddress, &size)
    }
    return status == 0 ? words[8] : 0
  }
}

/// Room for datagrams that are received together.
public struct ReceivedDatagrams: ~Copyable {
  /// Datagrams that one system call takes at most.
  public static let capacity = 64
  /// No UDP datagram is larger. The kernel gives the memory behind it page by page, as datagrams need it.
  private static let slot = 1 << 16

  public private(set) var count = 0
  private let bytes: UnsafeMutablePointer<UInt8>
  private let names: UnsafeMutablePointer<sockaddr_in6>
  private let vectors: UnsafeMutablePointer<iovec>
  private let messages: UnsafeMutablePointer<clinux_mmsghdr>

  public init() {
    bytes = .allocate(capacity: Self.capacity * Self.slot)
    names = .allocate(capacity: Self.capacity)
    names.initialize(repeating: sockaddr_in6(), count: Self.capacity)
    vectors = .allocate(capacity: Self.capacity)
    messages = .allocate(capacity: Self.capacity)
    messages.initialize(repeating: clinux_mmsghdr(), count: Self.capacity)
    for index in 0..<Self.capacity {
      (vectors + index).initialize(to: iovec(iov_base: bytes + index * Self.slot, iov_len: Self.slot))
      messages[index].msg_hdr.msg_name = UnsafeMutableRawPointer(names + index)
      messages[index].msg_hdr.msg_iov = vectors + index
      messages[index].msg_hdr.msg_iovlen = 1
    }
  }

  deinit {
    messages.deallocate()
    vectors.deallocate()
    names.deallocate()
    bytes.deallocate()
  }

  /// Takes what waits at a socket, in place of what was taken before.
  ///
  /// - Returns: false where nothing waits.
  public mutating func receive(from socket: borrowing ListeningSocket) throws(SystemError) -> Bool {
    count = 0
    for index in 0..<Self.capacity {
      messages[index].msg_hdr.msg_namelen = socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
    while true {
      let result = clinux_recvmmsg(
        socket.descriptor, messages, UInt32(Self.capacity), Int32(MSG_DONTWAIT))
      if result >= 0 {
        count = Int(result)
        return count > 0
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: return false
      default: throw SystemError("recvmmsg", "\(socket.address)")
      }
    }
  }

  /// Who sent a datagram; nil for a family that is neither IPv4 nor IPv6.
  public func sender(_ index: Int) -> Endpoint? {
    precondition(index < count)
    return SocketAddress(names + index).map { Endpoint($0.address, $0.port) }
  }

  /// A datagram's bytes, valid until the next `receive`.
  public func datagram(_ index: Int) -> UnsafeBufferPointer<UInt8> {
    precondition(index < count)
    return UnsafeBufferPointer(start: bytes + index * Self.slot, count: Int(messages[index].msg_len))
  }
}
