internal import CLinux
public import Flow
internal import Glibc

/// A socket, as the kernel describes it (`struct inet_diag_msg` and its attributes, linux/inet_diag.h). Valid only while
/// the body runs that it was handed to.
public struct SocketDescription {
  /// The socket's own addresses and ports. An IPv4-mapped IPv6 socket has those of IPv4.
  public let key: FlowKey
  /// `TCP_ESTABLISHED` and so on (net/tcp_states.h).
  public let state: SocketState
  /// The user that made it.
  public let uid: UInt32
  /// Of the socket in sockfs; 0 where no process has it any more.
  public let inode: UInt32
  /// Different for every socket since the host's boot.
  public let cookie: UInt64
  /// INET_DIAG_CGROUP_ID: the cgroup that it was made in; nil before Linux 5.9.
  public let cgroup: UInt64?
  private let info: UnsafeRawBufferPointer?
  private let congestion: UnsafeRawBufferPointer?

  /// What the kernel tells of the connection; nil for UDP.
  public var tcpInfo: TCPInfo? { info.map { TCPInfo($0, congestion: congestion) } }

  /// Payload bytes both ways; nil where the kernel does not count them.
  public var bytes: SocketBytes? { info.flatMap { TCPInfo($0).bytes } }

  /// Whether it is a TCP connection that is there: not one that is being made, and not what is left of one in
  /// TIME_WAIT, which the kernel may also call FIN_WAIT2. Only connections have a TCP_INFO.
  public var isConnection: Bool { info != nil && state.isConnection }

  /// From a SOCK_DIAG_BY_FAMILY message.
  init?(_ payload: UnsafeRawBufferPointer, _ transport: TransportProtocol) {
    guard payload.count >= MemoryLayout<inet_diag_msg>.size else { return nil }
    let message = payload.loadUnaligned(as: inet_diag_msg.self)
    let width = Int32(message.idiag_family) == AF_INET6 ? 16 : 4
    let source = Self.idOffset + Self.sourceOffset
    guard
      let local = Address(UnsafeRawBufferPointer(rebasing: payload[source..<source + width])),
      let remote = Address(UnsafeRawBufferPointer(rebasing: payload[source + 16..<source + 16 + width])),
      // An unconnected IPv6 socket may be bound to a mapped address while its remote end is `::`: no flow.
      local.isIPv4 == remote.isIPv4
    else { return nil }
    key = FlowKey(
      local: Endpoint(local, UInt16(bigEndian: message.id.idiag_sport)),
      remote: Endpoint(remote, UInt16(bigEndian: message.id.idiag_dport)), transport: transport)
    state = SocketState(rawValue: message.idiag_state)
    uid = message.idiag_uid
    inode = message.idiag_inode
    cookie = UInt64(message.id.idiag_cookie.0) | UInt64(message.id.idiag_cookie.1) << 32

    var (info, congestion, cgroup): (UnsafeRawBufferPointer?, UnsafeRawBufferPointer?, UInt64?)
    NetlinkAttributes(payload, after: MemoryLayout<inet_diag_msg>.size).walk { type, value in
      switch type {
      case Int(INET_DIAG_INFO): info = value
      case Int(INET_DIAG_CONG): congestion = value
      case Int(INET_DIAG_CGROUP_ID) where value.count == 8:
        cgroup = value.loadUnaligned(as: UInt64.self)
      default: break
      }
    }
    (self.info, self.congestion, self.cgroup) = (info, congestion, cgroup)
  }

  /// Where `id` is in `struct inet_diag_msg`, and `idiag_src` in that.
  private static let idOffset = 4
  private static let sourceOffset = 4
}

/// A TCP socket's state (net/tcp_states.h).
public struct SocketState: Hashable, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let established = SocketState(rawValue: 1)
  public static let timeWait = SocketState(rawValue: 6)
  public static let closed = SocketState(rawValue: 7)
  public static let listening = SocketState(rawValue: 10)

  static let synSent = SocketState(rawValue: 2)
  static let synReceived = SocketState(rawValue: 3)
  public static let closeWait = SocketState(rawValue: 8)
  static let newSynReceived = SocketState(rawValue: 12)

  /// The connection was established, whatever came after that.
  public var wasEstablished: Bool {
    isConnection && self != .synSent && self != .synReceived && self != .newSynReceived
  }

  /// This end may still send.
  public var isOpen: Bool { self == .established || self == .closeWait }

  /// Both ends may still have something to say.
  public var isConnection: Bool { self != .timeWait && self != .closed && self != .listening }
}

/// The states in which sockets are asked for: a bit each, as in `idiag_states`.
public struct SocketStates: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  private init(_ state: SocketState) { rawValue = 1 << UInt32(state.rawValue) }

  public static let established = SocketStates(.established)
  public static let timeWait = SocketStates(.timeWait)
  public static let listening = SocketStates(.listening)
  /// ESTABLISHED to CLOSING but neither LISTEN nor TIME_WAIT, nor closed ones: 1…11, of which 6, 7 and 10 are those.
  public static let connections = SocketStates(
    rawValue: 0b1111_1111_1110 & ~(1 << 6 | 1 << 7 | 1 << 10))
}

/// Asks the kernel for this namespace's sockets (sock_diag(7)). One thread uses it.
public final class SocketDump: Sendable {
  private let socket: NetlinkSocket

  /// - Throws: where the kernel has no sock_diag.
  public init() throws(SystemError) {
    socket = try NetlinkSocket(family: Int32(NETLINK_SOCK_DIAG))
  }

  /// Hands out every socket of both address families, one after the other.
  ///
  /// - Parameters:
  ///   - transport: of UDP only connected sockets have a remote end.
  ///   - states: meaningful for TCP; a UDP socket that is connected is `established`.
  /// - Throws: `ENOENT` from a kernel that has no tcp_diag or udp_diag.
  public func forEach(
    _ transport: TransportProtocol, in states: SocketStates = .connections,
    _ body: (borrowing SocketDescription) -> Void
  ) throws(SystemError) {
    for family in [AF_INET6, AF_INET] {
      var request = Self.request(family, transport)
      request.idiag_states = states.rawValue
      try socket.dump(type: Int32(SOCK_DIAG_BY_FAMILY), request) { type, payload in
        guard Int32(type) == Int32(SOCK_DIAG_BY_FAMILY) else { return }
        if let found = SocketDescription(payload, transport) { body(found) }
      }
    }
  }

  /// Hands out the socket of a flow, if it has one here.
  ///
  /// - Returns: what the body returns; nil without a socket.
  public func one<T>(
    _ key: FlowKey, _ body: (borrowing SocketDescription) -> T
  ) throws(SystemError) -> T? {
    var request = Self.request(key.isIPv4 ? AF_INET : AF_INET6, key.transport)
    request.idiag_states = .max
    // "src and dst are swapped for historical reasons", says the kernel's udp_dump_one.
    let (source, destination) = key.transport == .udp ? (key.remote, key.local) : (key.local, key.remote)
    withUnsafeMutableBytes(of: &request.id) { id in
      id.storeBytes(of: source.port.bigEndian, as: UInt16.self)
      id.storeBytes(of: destination.port.bigEndian, toByteOffset: 2, as: UInt16.self)
      source.address.write(to: UnsafeMutableRawBufferPointer(rebasing: id[4..<20]))
      destination.address.write(to: UnsafeMutableRawBufferPointer(rebasing: id[20..<36]))
    }
    // Any cookie will do.
    request.id.idiag_cookie = (INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE)
    var result: T?
    do throws(SystemError) {
      try socket.request(type: Int32(SOCK_DIAG_BY_FAMILY), request) { type, payload in
        guard Int32(type) == Int32(SOCK_DIAG_BY_FAMILY),
          let found = SocketDescription(payload, key.transport), found.key == key
        else { return }  // A listener answers where no connection does.
        result = body(found)
      }
    } catch {
      guard error.code == ENOENT else { throw error }
    }
    return result
  }

  private static func request(_ family: Int32, _ transport: TransportProtocol) -> inet_diag_req_v2 {
    var request = inet_diag_req_v2()
    request.sdiag_family = UInt8(family)
    request.sdiag_protocol = transport.rawValue
    // A bit for each attribute wanted, counted from 1.
    request.idiag_ext = UInt8(1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1))
    return request
  }
}

extension Address {
  /// Four or sixteen bytes in network order, at the beginning of sixteen.
  fileprivate func write(to bytes: UnsafeMutableRawBufferPointer) {
    if let ipv4 {
      bytes.storeBytes(of: ipv4.bigEndian, as: UInt32.self)
    } else {
      bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
      bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
  }
}
