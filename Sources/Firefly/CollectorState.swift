import CLinux
import Flow
import Glibc
import Linux

/// What a `CollectorLink` guards: the socket, the fireflies that wait for it, and how the collector fares.
struct CollectorState: ~Copyable {
  /// What a step has to tell beyond itself.
  struct Outcome {
    /// All messages of the burst were sent, held or given up.
    var isDone = true
    var event: Emitter.Event?
    /// The collector's name should be resolved again.
    var wantsRenewal = false
  }

  let collector: Collector
  private let environment: Emitter.Environment
  private(set) var address: SocketAddress?
  private(set) var held = HeldDatagrams()
  private(set) var tally = Tally()
  private(set) var lastError: String?
  private(set) var isFailing = false
  private(set) var isUnresolvable = false
  private(set) var isStopped = false

  private var delays: Emitter.Delays { environment.delays }
  private var socket: UDPSocket?
  /// The first message of the burst that is not dealt with yet.
  private var next = 0
  /// Until when fireflies may wait for the first address; nil once there was one.
  private var holdEnd: MonotonicTime?
  private var lastFailure: MonotonicTime
  private var nextRenewal: MonotonicTime
  private var retry: Int64

  init(_ collector: Collector, _ environment: Emitter.Environment, at now: MonotonicTime) {
    self.collector = collector
    self.environment = environment
    let delays = environment.delays
    holdEnd = collector.isLiteral ? nil : now.advanced(milliseconds: delays.hold)
    lastFailure = now
    nextRenewal = now
    retry = delays.firstRetry
  }

  /// Takes a burst and sends what the kernel takes at once.
  mutating func offer(
    _ messages: UnsafeMutablePointer<clinux_mmsghdr>, _ count: Int, at now: MonotonicTime
  ) -> Outcome {
    next = 0
    guard socket == nil || !held.isEmpty else { return send(messages, count, at: now) }
    if let holdEnd, holdEnd < now { dropHeld() }
    if holdEnd != nil || !held.isEmpty {
      for index in 0..<count { hold(messages[index]) }
    } else {
      tally.dropped += UInt64(count)
    }
    next = count
    // A name's own thread goes on trying; for an address nobody else does.
    return Outcome(wantsRenewal: collector.isLiteral && wantsRenewal(at: now))
  }

  /// Sends what the kernel did not take when the burst was offered, and gives up the rest.
  ///
  /// - Parameter patience: How often to wait up to 5 ms for room.
  mutating func settle(
    _ messages: UnsafeMutablePointer<clinux_mmsghdr>, _ count: Int, patience: Int, at now: MonotonicTime
  ) -> Outcome {
    var outcome = Outcome()
    for _ in 0..<max(patience, 1) where next < count {
      if patience > 0 { socket?.waitForRoom(milliseconds: 5) }
      let step = send(messages, count, at: now)
      outcome.event = step.event ?? outcome.event
      outcome.wantsRenewal = outcome.wantsRenewal || step.wantsRenewal
    }
    if next < count {
      tally.dropped += UInt64(count - next)
      lastError = "\(SystemError("sendmmsg", code: EAGAIN))"
      next = count
    }
    return outcome
  }

  private mutating func send(
    _ messages: UnsafeMutablePointer<clinux_mmsghdr>, _ count: Int, at now: MonotonicTime
  ) -> Outcome {
    var step = Tally()
    let isDone = socket?.send(messages, from: &next, to: count, &step) ?? true
    var outcome = judge(step, at: now)
    outcome.isDone = isDone
    return outcome
  }

  /// Counts a step, and draws the conclusions.
  private mutating func judge(_ step: Tally, at now: MonotonicTime) -> Outcome {
    tally += step
    guard let code = step.lastError else {
      guard isFailing, step.sent > 0, lastFailure.advanced(milliseconds: delays.recovery) <= now else {
        return Outcome()
      }
      isFailing = false
      return Outcome(event: isUnresolvable ? nil : .collectorRecovered(collector))
    }
    let event = fail(SystemError("sendmmsg", collector.description, code: code), at: now)
    return Outcome(event: event, wantsRenewal: wantsRenewal(at: now))
  }

  private mutating func fail(_ error: SystemError, at now: MonotonicTime) -> Emitter.Event? {
    lastError = "\(error)"
    lastFailure = now
    defer { isFailing = true }
    guard !isFailing else { return nil }
    nextRenewal = now.advanced(milliseconds: delays.renewal)
    return .collectorFailed(collector, error)
  }

  private mutating func wantsRenewal(at now: MonotonicTime) -> Bool {
    guard nextRenewal <= now else { return false }
    nextRenewal = now.advanced(milliseconds: delays.renewal)
    return true
  }

  private mutating func hold(_ message: clinux_mmsghdr) {
    guard let vector = message.msg_hdr.msg_iov?.pointee else { return }
    let bytes = UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len)
    if !held.append(bytes) { tally.dropped += 1 }
  }

  private mutating func dropHeld() {
    tally.dropped += UInt64(held.count)
    held.removeAll()
    holdEnd = nil
  }

  /// Takes what a look-up found, and opens a new socket where the old one has no merit.
  ///
  /// - Returns: Beside the outcome, the milliseconds until the next look-up.
  mutating func adopt(
    _ result: Result<[SocketAddress], LookupFailure>, at now: MonotonicTime
  ) -> (outcome: Outcome, pause: Int64) {
    switch result {
    case .failure(let failure):
      lastError = failure.reason
      defer {
        retry = min(retry * 2, delays.lastRetry)
        isUnresolvable = true
      }
      let event = Emitter.Event.collectorUnresolvable(collector, reason: failure.reason)
      return (Outcome(event: isUnresolvable ? nil : event), retry)
    case .success(let addresses):
      let wasUnresolvable = isUnresolvable
      isUnresolvable = false
      retry = delays.firstRetry
      if socket != nil, !isFailing, let address, addresses.contains(address) {
        return (Outcome(event: wasUnresolvable ? .collectorRecovered(collector) : nil), delays.refresh)
      }
      if let error = open(addresses) {
        return (Outcome(event: fail(error, at: now)), delays.renewal)
      }
      let hasRecovered = wasUnresolvable && !isFailing
      return (Outcome(event: hasRecovered ? .collectorRecovered(collector) : nil), delays.refresh)
    }
  }

  /// Opens a socket to the first address that the kernel has a route to. Where the address in use fails, the
  /// ones behind it come first.
  private mutating func open(_ addresses: [SocketAddress]) -> SystemError? {
    let current = isFailing ? addresses.firstIndex { $0 == address } : nil
    let first = current.map { $0 + 1 } ?? 0
    var failure: SystemError?
    for offset in addresses.indices {
      let candidate = addresses[(first + offset) % addresses.count]
      do throws(SystemError) {
        socket = try environment.open(candidate)
        address = candidate
        holdEnd = nil
        return nil
      } catch {
        failure = failure ?? error
      }
    }
    return failure
  }

  /// Sends some of what is held.
  ///
  /// - Returns: False where nothing is left to do.
  mutating func drain(at now: MonotonicTime) -> (isLeft: Bool, outcome: Outcome) {
    var step = Tally()
    guard !held.isEmpty, socket?.drain(&held, &step) != nil else { return (false, Outcome()) }
    let outcome = judge(step, at: now)
    return (!held.isEmpty, outcome)
  }

  /// Closes the socket; whatever is held or comes later is dropped.
  mutating func stop() {
    isStopped = true
    socket = nil
    address = nil
    dropHeld()
  }
}

extension UDPSocket {
  fileprivate func drain(_ held: inout HeldDatagrams, _ tally: inout Tally) {
    held.send(by: self, limit: Burst.capacity, &tally)
  }
}
