internal import Flow
internal import Glibc
internal import Linux
internal import Synchronization

/// Takes frames from the inside, has them rewritten, sends them out by the outside. Used by its thread alone.
protocol PacketEngine: AnyObject {
  /// What to wait for.
  var descriptors: [Int32] { get }
  /// The longest time to wait, milliseconds, where there is more to do than what `descriptors` tell of; nil for none.
  var patience: Int32? { get }

  /// Moves the frames that are there.
  ///
  /// - Returns: how many.
  /// - Throws: where no more will come.
  func turn(_ rewriter: inout Rewriter) throws(SystemError) -> Int
}

/// The thread that moves packets. It alone touches its flows; changes are handed to it and it answers, so that nothing in
/// its loop waits for a lock while there is none.
final class PacketThread: Sendable {
  /// Something to do with the thread's flows, and what came of it.
  struct Order {
    enum Action { case mark, remark, unmark }
    let action: Action
    let key: FlowWords
    let stamp: StampWord
    /// What a flow has counted when it is marked; of one that was unmarked, its last count.
    var usage: Usage?
    /// Whether the thread had the flow before.
    var wasThere = false
    /// errno, 0 for done.
    var code: Int32 = 0
  }

  private struct State {
    var orders: ContiguousArray<Order> = []
    var scope: (ipv6: StampWord?, ipv4: StampWord?, exclusions: ScopeExclusions)?
    var isAsked = false
    /// The thread takes no more orders.
    var hasEnded = false
    var failure: SystemError?
    /// The memory of the flows, for reading their counters; an address, because pointers are not Sendable.
    var table: (slots: UInt, capacity: Int)?
    /// What the flows had counted when the thread ended.
    var last: [(FlowWords, Usage)] = []
  }

  private let state = Mutex(State())
  private let isAsked = Atomic<Bool>(false)
  private let isStopping = Atomic<Bool>(false)
  private let wake: EventCounter
  private let done: EventCounter
  /// Nil once it has been joined.
  private let thread = Mutex<OwnedThread?>(nil)

  init() throws(SystemError) {
    wake = try EventCounter()
    done = try EventCounter()
  }

  /// - Parameters:
  ///   - lease: how long the kernel hands packets over without a word from the thread, nanoseconds.
  ///   - seed: random, for the table of flows.
  func start(
    _ engine: sending any PacketEngine, _ control: InlineControl, lease: UInt64, seed: UInt64
  ) throws(SystemError) {
    control.renewLease(for: lease)
    // The closure has to be sendable to a thread, and the engine is handed over with it for good.
    nonisolated(unsafe) let engine = engine
    let made = try OwnedThread(named: "packets") { self.run(engine, control, lease, seed) }
    thread.withLock { $0 = made }
  }

  /// Moves what is left and ends the thread. Has to be called: the thread holds on to this object while it runs.
  func stop() {
    isStopping.store(true, ordering: .releasing)
    wake.signal()
    thread.withLock { $0 = nil }
  }

  /// What its flows had counted, of a thread that has ended.
  func readLastUsage(_ body: (FlowKey, Usage) -> Void) {
    for (words, usage) in state.withLock({ $0.last }) {
      if let key = words.flowKey { body(key, usage) }
    }
  }

  /// Why the thread has ended by itself.
  var failure: SystemError? { state.withLock { $0.failure } }

  /// Has orders carried out and returns when they are; the outcomes are in them.
  ///
  /// - Returns: false where the thread has ended.
  func perform(_ orders: inout ContiguousArray<Order>) -> Bool {
    guard ask({ swap(&$0.orders, &orders) }) else { return false }
    state.withLock { swap(&$0.orders, &orders) }
    return true
  }

  func setScope(ipv6: StampWord?, ipv4: StampWord?, except exclusions: ScopeExclusions) -> Bool {
    ask { $0.scope = (ipv6, ipv4, exclusions) }
  }

  private func ask(_ question: (inout State) -> Void) -> Bool {
    done.clear()
    let isRunning = state.withLock { state in
      guard !state.hasEnded else { return false }
      question(&state)
      state.isAsked = true
      return true
    }
    guard isRunning else { return false }
    isAsked.store(true, ordering: .releasing)
    wake.signal()
    while true {
      done.wait()
      let (isAnswered, hasEnded) = state.withLock { (!$0.isAsked, $0.hasEnded) }
      if isAnswered { return true }
      if hasEnded { return false }
    }
  }

  /// Reports the counters of every flow, as they are while the thread counts on.
  func readUsage(_ body: (FlowKey, Usage) -> Void) {
    // The thread changes the table's memory only on an order, and frees it only under this lock.
    state.withLock { state in
      guard let (address, capacity) = state.table, let slots = RewriterTable.Slot(bitPattern: address) else {
        return
      }
      RewriterTable.forEach(slots, capacity: capacity) { words, usage in
        if let key = words.flowKey { body(key, usage) }
      }
    }
  }

  private func run(
    _ engine: any PacketEngine, _ control: InlineControl, _ lease: UInt64, _ seed: UInt64
  ) {
    var rewriter = Rewriter(seed: seed)
    publish(rewriter)
    var waiting = (engine.descriptors + [wake.descriptor]).map {
      pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
    }
    // Four times as often as the lease ends.
    let pause = Int32(lease / 4_000_000)
    var failure: SystemError?
    // What is on its way out when the thread is told to end has so many waits to get there.
    var patience = 100
    do throws(SystemError) {
      while true {
        control.renewLease(for: lease)
        if isAsked.load(ordering: .acquiring) { serve(&rewriter) }
        guard try engine.turn(&rewriter) == 0 else { continue }
        if isStopping.load(ordering: .acquiring) {
          guard let wait = engine.patience, patience > 0 else { break }
          patience -= 1
          _ = poll(&waiting, nfds_t(waiting.count), wait)
          continue
        }
        wake.clear()
        // What was asked between the look above and clearing the signal.
        guard !isAsked.load(ordering: .acquiring), !isStopping.load(ordering: .acquiring) else { continue }
        _ = poll(&waiting, nfds_t(waiting.count), engine.patience ?? pause)
      }
    } catch {
      failure = error
    }
    control.renewLease(for: 0)
    state.withLock { state in
      state.hasEnded = true
      state.failure = failure
      state.table = nil
      RewriterTable.forEach(rewriter.table.slots, capacity: rewriter.table.capacity) { words, usage in
        state.last.append((words, usage))
      }
    }
    done.signal()
  }

  private func serve(_ rewriter: inout Rewriter) {
    // Before looking, or a question that comes meanwhile would be forgotten.
    isAsked.store(false, ordering: .relaxed)
    state.withLock { state in
      guard state.isAsked else { return }
      for place in state.orders.indices { Self.carry(&state.orders[place], &rewriter) }
      if let scope = state.scope {
        rewriter.setScope(ipv6: scope.ipv6, ipv4: scope.ipv4, except: scope.exclusions)
      }
      state.scope = nil
      state.isAsked = false
      state.table = (UInt(bitPattern: rewriter.table.slots), rewriter.table.capacity)
    }
    done.signal()
  }

  private func publish(_ rewriter: borrowing Rewriter) {
    let table = (UInt(bitPattern: rewriter.table.slots), rewriter.table.capacity)
    state.withLock { $0.table = table }
  }

  private static func carry(_ order: inout Order, _ rewriter: inout Rewriter) {
    order.wasThere = rewriter.has(order.key)
    switch order.action {
    case .mark, .remark:
      if !rewriter.set(order.key, order.stamp, counted: order.usage ?? Usage()) { order.code = ENOMEM }
    case .unmark: order.usage = rewriter.remove(order.key)
    }
  }
}
