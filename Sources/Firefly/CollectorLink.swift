import CLinux
import Flow
import Linux
import Synchronization

/// The way to one collector. The emitter's thread sends; where the collector has a name, a thread of its own
/// resolves it, and sends what waited for the address. Neither ever waits for the other longer than one burst
/// takes.
final class CollectorLink: Sendable {
  let collector: Collector
  private let state: Mutex<CollectorState>
  private let environment: Emitter.Environment
  private let log: @Sendable (Emitter.Event) -> Void
  private let alarm: Alarm

  init(
    _ collector: Collector, _ environment: Emitter.Environment,
    log: @escaping @Sendable (Emitter.Event) -> Void
  ) throws(SystemError) {
    let alarm = try Alarm()
    self.collector = collector
    self.alarm = alarm
    self.environment = environment
    self.log = log
    state = Mutex(CollectorState(collector, environment, at: .now()))
  }

  /// Opens the way: at once to an address, else as soon as the name is resolved.
  func start() throws(SystemError) {
    if collector.isLiteral {
      _ = resolve()
    } else {
      try ResolverThread.start { self.keepResolving() }
    }
  }

  /// Sends what the kernel takes at once of a burst.
  ///
  /// - Returns: Whether that was all; if not, `settle` comes next.
  func offer(_ burst: borrowing Burst, at now: MonotonicTime) -> Bool {
    let (messages, count) = burst.messages(for: collector)
    guard count > 0 else { return true }
    let outcome = state.withLock { $0.offer(messages, count, at: now) }
    act(on: outcome)
    return outcome.isDone
  }

  /// Sends the rest of a burst, and gives up what the kernel still has no room for.
  func settle(_ burst: borrowing Burst, patience: Int, at now: MonotonicTime) {
    let (messages, count) = burst.messages(for: collector)
    guard count > 0 else { return }
    act(on: state.withLock { $0.settle(messages, count, patience: patience, at: now) })
  }

  /// Where fireflies go now; nil while there is nowhere to send them.
  var address: SocketAddress? { state.withLock { $0.address } }

  func stop() {
    state.withLock { $0.stop() }
    alarm.ring()
  }

  var statistics: Emitter.Statistics.CollectorStatistics {
    state.withLock { state in
      Emitter.Statistics.CollectorStatistics(
        collector: state.collector, address: state.address?.address,
        isFailing: state.isFailing || state.isUnresolvable,
        destination: Emitter.Statistics.Destination(
          sent: state.tally.sent, dropped: state.tally.dropped, held: state.held.count,
          errors: state.tally.errors, lastError: state.lastError))
    }
  }

  private func act(on outcome: CollectorState.Outcome) {
    if let event = outcome.event { log(event) }
    guard outcome.wantsRenewal else { return }
    if collector.isLiteral { _ = resolve() } else { alarm.ring() }
  }

  /// - Returns: Milliseconds until the next look-up, nil after the end.
  private func resolve() -> Int64? {
    let result: Result<[SocketAddress], LookupFailure>
    do throws(LookupFailure) {
      result = .success(try environment.lookup(collector))
    } catch {
      result = .failure(error)
    }
    let now = MonotonicTime.now()
    let step = state.withLock { $0.isStopped ? nil : $0.adopt(result, at: now) }
    if let event = step?.outcome.event { log(event) }
    return step?.pause
  }

  private func keepResolving() {
    while let pause = resolve() {
      drain()
      alarm.sleep(milliseconds: Int32(clamping: pause))
    }
  }

  /// Sends what was held, in steps, so that the emitter's thread never waits for all of it.
  private func drain() {
    var left = Int.max
    while true {
      let (step, held) = state.withLock { ($0.drain(at: .now()), $0.held.count) }
      if let event = step.outcome.event { log(event) }
      guard step.isLeft else { return }
      if held >= left { alarm.sleep(milliseconds: 5) }
      left = held
    }
  }
}
