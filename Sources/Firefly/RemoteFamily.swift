import CLinux
import Flow
import Glibc
import Linux

/// The fireflies of one burst that go to remote ends of one address family.
struct RemoteFamily: ~Copyable {
  private(set) var tally = Tally()
  private(set) var lastError: String?

  private let family: Int32
  private var socket: UDPSocket?
  private var isClosed = false
  /// When to try again to open the socket.
  private var nextAttempt = MonotonicTime(nanoseconds: 0)
  private let names: UnsafeMutablePointer<sockaddr_in6>
  private let sources: UnsafeMutablePointer<SourceAddress>
  private let messages: UnsafeMutablePointer<clinux_mmsghdr>
  private var count = 0
  private var next = 0

  init(_ family: Int32) {
    self.family = family
    names = .allocate(capacity: Burst.capacity)
    names.initialize(repeating: sockaddr_in6(), count: Burst.capacity)
    sources = .allocate(capacity: Burst.capacity)
    sources.initialize(repeating: SourceAddress(), count: Burst.capacity)
    messages = .allocate(capacity: Burst.capacity)
    messages.initialize(repeating: clinux_mmsghdr(), count: Burst.capacity)
  }

  deinit {
    messages.deallocate()
    sources.deallocate()
    names.deallocate()
  }

  mutating func removeAll() {
    count = 0
    next = 0
  }

  /// Adds a message of the burst, whose bytes stay where they are.
  mutating func append(_ message: clinux_mmsghdr, from local: Address, to address: SocketAddress) {
    precondition(count < Burst.capacity)
    messages[count] = message
    messages[count].msg_hdr.msg_namelen = address.write(to: names + count)
    messages[count].msg_hdr.msg_name = UnsafeMutableRawPointer(names + count)
    SourceAddress.set(local, of: &messages[count].msg_hdr, in: sources + count)
    count += 1
  }

  /// Sends what the kernel takes at once.
  mutating func offer(at now: MonotonicTime) -> Bool {
    guard count > 0 else { return true }
    if socket == nil, !isClosed, nextAttempt <= now { open(at: now) }
    if socket == nil {
      tally.dropped += UInt64(count)
      next = count
      return true
    }
    return send()
  }

  /// Sends the rest, waiting up to 5 ms for room as often as `patience` says, and gives up what is left then.
  mutating func settle(patience: Int) {
    for _ in 0..<max(patience, 1) where next < count {
      if patience > 0 { socket?.waitForRoom(milliseconds: 5) }
      _ = send()
    }
    guard next < count else { return }
    tally.dropped += UInt64(count - next)
    lastError = "\(SystemError("sendmmsg", code: EAGAIN))"
    next = count
  }

  /// Closes the socket; whatever comes later is given up.
  mutating func close() {
    isClosed = true
    socket = nil
  }

  private mutating func send() -> Bool {
    var step = Tally()
    let isDone = socket?.send(messages, from: &next, to: count, &step) ?? true
    tally += step
    if let code = step.lastError { lastError = "\(SystemError("sendmmsg", code: code))" }
    return isDone
  }

  private mutating func open(at now: MonotonicTime) {
    do throws(SystemError) {
      socket = try UDPSocket(family: family)
    } catch {
      lastError = "\(error)"
      tally.errors += 1
      nextAttempt = now.advanced(milliseconds: 1000)
    }
  }
}
