import CLinux
import Flow
import Glibc
import Linux

/// Asks servers in turn from where one local address comes to them, until one has answered. A step of it never blocks.
struct STUNQuery: ~Copyable {
  /// When requests are sent again (RFC 8489 §6.2.1).
  struct Schedule: Sendable {
    /// Milliseconds from the first request to the second; each pause is twice the one before.
    var firstPause: Int64 = 500
    var requests = 7
    /// How long an answer to the last request is waited for, in first pauses.
    var lastWait: Int64 = 16
  }

  enum Result: Equatable {
    case found(Address, by: SocketAddress)
    /// No server told it; the reason is the last one's.
    case failed(String)
  }

  let local: Address
  private(set) var result: Result?
  private let schedule: Schedule
  private var servers: ArraySlice<SocketAddress>
  private var server: SocketAddress?
  private var socket: Descriptor?
  private var id = STUNMessage.TransactionID.random()
  private var sent = 0
  private var next: MonotonicTime
  private var reason = "no server has an address of this family"

  /// - Parameter servers: to be asked, in this order; only those of the local address's family are.
  init(_ local: Address, _ servers: [SocketAddress], _ schedule: Schedule, at now: MonotonicTime) {
    self.local = local
    self.schedule = schedule
    self.servers = servers.filter { $0.address.isIPv4 == local.isIPv4 }[...]
    next = now
    askNext(at: now)
  }

  /// The descriptor that an answer comes by; nil at the end.
  var descriptor: Int32? { socket?.number() }

  /// When to call `proceed`, if no answer comes before.
  var due: MonotonicTime { next }

  /// Sends what is due.
  mutating func proceed(at now: MonotonicTime) {
    guard result == nil, next <= now, let raw = descriptor else { return }
    guard sent < schedule.requests else {
      reason = "no answer from \(name)"
      return askNext(at: now)
    }
    let request = STUNMessage.bindingRequest(id)
    if send(raw, request, request.count, 0) < 0, errno != EAGAIN, errno != ENOBUFS, errno != EINTR {
      // The refusal of an earlier request comes out here too.
      reason = "\(SystemError("send", name))"
      return askNext(at: now)
    }
    sent += 1
    let pauses = sent < schedule.requests ? 1 << Int64(sent - 1) : schedule.lastWait
    next = now.advanced(milliseconds: schedule.firstPause * pauses)
  }

  /// Takes what has come.
  mutating func receive(at now: MonotonicTime) {
    var datagram = [UInt8](repeating: 0, count: 1500)
    while result == nil, let raw = descriptor, let server {
      let count = recv(raw, &datagram, datagram.count, Int32(MSG_DONTWAIT))
      if count < 0 {
        if errno == EINTR { continue }
        guard errno != EAGAIN else { return }
        reason = "\(SystemError("recv", name))"
        return askNext(at: now)
      }
      do throws(STUNError) {
        guard let address = try STUNMessage.reflexiveAddress(in: Array(datagram[..<count]), for: id) else {
          continue
        }
        guard let flaw = flaw(of: address) else {
          socket = nil
          result = .found(address, by: server)
          return
        }
        reason = "\(name) sees \(address), \(flaw)"
      } catch {
        reason = "\(name): \(error)"
      }
      return askNext(at: now)
    }
  }

  /// What an address has that no flow may be named by.
  private func flaw(of address: Address) -> String? {
    if address == local { return nil }
    if address.isIPv4 != local.isIPv4 { return "which is of the other family" }
    if address.isUnspecified || address.isMulticast { return "which is no host's" }
    return address.isPrivate ? "which is private: the server is behind the same NAT" : nil
  }

  private var name: String { server?.description ?? "" }

  /// Begins anew with the next server, or ends.
  private mutating func askNext(at now: MonotonicTime) {
    socket = nil
    while let candidate = servers.popFirst() {
      server = candidate
      id = .random()
      sent = 0
      next = now
      do throws(SystemError) {
        socket = try Self.open(from: local, to: candidate)
        return
      } catch {
        reason = "\(error)"
      }
    }
    result = .failed(reason)
  }

  /// Connected, so that only the server's datagrams come in, and its refusals.
  private static func open(from local: Address, to server: SocketAddress) throws(SystemError) -> Descriptor {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let made = try Descriptor("socket") { Glibc.socket(server.family, type, 0) }
    let raw = made.raw
    let source = SocketAddress(address: local, port: 0)
    try system("bind", "\(local)") { source.withName { bind(raw, $0, $1) } }
    try system("connect", server.description) { server.withName { connect(raw, $0, $1) } }
    return made
  }
}

extension Descriptor {
  /// An optional descriptor lends itself to calls only.
  fileprivate borrowing func number() -> Int32 { raw }
}
