internal import CTable
public import Flow
internal import Glibc
public import Linux
internal import Synchronization

/// Marks packets on their way between two ports of a bridge, in a thread of this process. Packets of tagged flows from the
/// inside are taken over, all others stay with the bridge, and so does everything when the process dies.
public final class InlinePath: MarkingPath {
  public let kind: PathKind
  public var families = AddressFamilies.all
  public let counters = InlineCounters()

  /// What takes packets over while it is there.
  private struct Running {
    let pair: InlinePair
    let gate: any InlineGate
    let thread: PacketThread
  }
  private var running: Running?
  private let maxFlows: Int
  private let hook: TCHook?
  private let remembers: Bool
  private let headers: Bool
  private var ports = PortFilter()
  private var orders: ContiguousArray<PacketThread.Order> = []
  /// The places in the batch of `orders`.
  private var places: [Int] = []
  /// The flows that the thread has, by family.
  private var ipv6Flows = 0
  private var ipv4Flows = 0
  private var scope: ScopeMarks?
  /// What the flows had counted when packets were last given back to the bridge.
  private var kept: [FlowKey: Usage] = [:]

  /// Nothing is taken over yet.
  ///
  /// - Parameters:
  ///   - kind: `.raw` for packet sockets, `.xdp` for AF_XDP.
  ///   - hook: of the raw engine's gate, nil for the best that the kernel has.
  ///   - headers: false to do without vnet headers, as on a kernel that does not have them.
  ///   - remembers: whether a file keeps what was changed at the devices, for whoever comes after a crash.
  public init(
    _ kind: PathKind, maxFlows: Int, hook: TCHook? = nil, headers: Bool = true, remembers: Bool = true
  ) {
    self.kind = kind
    self.maxFlows = maxFlows
    self.hook = hook
    self.headers = headers
    self.remembers = remembers
  }

  deinit { close() }

  /// Takes the packets of tagged flows between two ports over. It has no flows then; `takeOver` gives them to it.
  public func open(_ pair: InlinePair) throws(InlineError) {
    close()
    var random = SystemRandomNumberGenerator()
    let gate: any InlineGate =
      kind == .xdp
      ? try XDPGate(pair, remembers: remembers) : try PacketSocketGate(pair, hook: hook, headers: headers)
    // Nothing is active yet, so no packet comes before the thread is there.
    try gate.open()
    do throws(SystemError) {
      let thread = try PacketThread()
      try thread.start(gate.engine(pair, counters), gate.control, lease: gate.lease, seed: random.next())
      running = Running(pair: pair, gate: gate, thread: thread)
    } catch {
      throw .system(error)
    }
    ports = PortFilter()
    (ipv6Flows, ipv4Flows) = (0, 0)
    do throws(PathError) { try markAll(scope) } catch { throw .ended(error.reason) }
  }

  /// Gives the traffic back to the bridge. Packets that were taken over still leave.
  public func close() {
    guard let running else { return }
    running.gate.control.setActive(0)
    running.gate.close()
    running.thread.stop()
    running.thread.readLastUsage { kept[$0] = $1 }
    updateCounters()
    self.running = nil
  }

  /// Takes over what goes to where the bridge knows it to be now.
  ///
  /// - Throws: where that cannot be followed; packets to what is not known stay with the bridge.
  public func follow(_ changes: NetworkMonitor.Changes) throws(InlineError) {
    guard let running else { return }
    do throws(SystemError) {
      if changes.isComplete {
        try running.gate.stations.carry(changes.stations)
      } else {
        try running.gate.stations.look()
      }
    } catch {
      throw .system(error)
    }
  }

  /// The ports that packets are taken over between; nil while none are.
  public var pair: InlinePair? { running?.pair }

  /// How packets are taken over, for the log.
  public var words: String { running?.gate.words ?? "" }

  /// Why no packets are taken over any more, though nobody said so; nil while they are, or are not to be.
  public var fault: String? {
    guard let running else { return nil }
    if let failure = running.thread.failure { return "\(failure)" }
    return running.gate.isThere ? nil : "somebody removed the program from \(running.pair.inside.name)"
  }

  /// Counts what overflowed since the last call.
  public func updateCounters() {
    if let running { InlineCounters.add(running.gate.takeOverflow(), to: counters.overflowed) }
  }

  /// Packets of tagged flows that went by the bridge, unmarked, because they are longer than the engine takes.
  public var tooLongPackets: UInt64 { running?.gate.control.tooLong ?? 0 }

  public func apply(_ batch: inout ChangeBatch) {
    batch.withChanges(of: families) { batch in carry(&batch) }
    updateActive()
  }

  private func carry(_ batch: inout ChangeBatch) {
    orders.removeAll(keepingCapacity: true)
    places.removeAll(keepingCapacity: true)
    var marked = ipv6Flows + ipv4Flows
    for place in batch.changes.indices {
      let change = batch.changes[place]
      guard let stamp = StampWord(change.mark) else {
        if change.action != .unmark { batch.changes[place].failure = PathFailure(kind, code: EOPNOTSUPP) }
        continue
      }
      switch change.action {
      case .mark:
        guard marked < maxFlows else {
          batch.changes[place].failure = PathFailure(kind, code: E2BIG)
          continue
        }
        marked += 1
        orders.append(.init(action: .mark, key: FlowWords(change.key), stamp: stamp))
      case .remark: orders.append(.init(action: .remark, key: FlowWords(change.key), stamp: stamp))
      case .unmark:
        // First no more packets come, then the count is taken.
        if running != nil { leave(change.key) }
        marked -= 1
        orders.append(.init(action: .unmark, key: FlowWords(change.key), stamp: stamp))
      }
      places.append(place)
    }
    // Where nothing is taken over, the flows come with `takeOver` once it is.
    guard !orders.isEmpty else { return }
    guard let running else {
      for place in places where batch.changes[place].action == .unmark {
        batch.changes[place].usage = kept.removeValue(forKey: batch.changes[place].key)
      }
      return
    }
    let isDone = running.thread.perform(&orders)
    for (order, place) in zip(orders, places) {
      settle(isDone ? order : nil, &batch.changes[place])
    }
  }

  /// - Parameter order: nil where the thread has ended.
  private func settle(_ order: PacketThread.Order?, _ change: inout ChangeBatch.Change) {
    switch change.action {
    case .mark, .remark:
      let code = order?.code ?? ESHUTDOWN
      if code != 0 {
        change.failure = PathFailure(kind, code: code)
      } else if order?.wasThere == false {
        enter(change.key)
      }
    case .unmark:
      change.usage = order?.usage
      // A flow whose mark was refused is not there and has no share in the port filter.
      if order?.wasThere == false { enter(change.key) }
    }
  }

  /// Marks flows that another path, or one before this one, marked until now, and counts on from there.
  public func takeOver(_ flows: (_ body: (FlowKey, Mark, Usage?) -> Void) -> Void) throws(PathError) {
    orders.removeAll(keepingCapacity: true)
    var keys: [FlowKey] = []
    flows { key, mark, usage in
      guard families.contains(key), let stamp = StampWord(mark) else { return }
      // What is kept is the newer count, of the same flow.
      orders.append(.init(action: .mark, key: FlowWords(key), stamp: stamp, usage: kept[key] ?? usage))
      keys.append(key)
    }
    guard keys.count <= maxFlows else {
      throw PathError(kind, "\(keys.count) flows are more than \(maxFlows)")
    }
    guard let running else { return }
    guard running.thread.perform(&orders) else {
      throw PathError(kind, fault ?? "the packet thread has ended")
    }
    kept = [:]
    for (order, key) in zip(orders, keys) where order.code == 0 && !order.wasThere { enter(key) }
    updateActive()
    if orders.contains(where: { $0.code != 0 }) { throw PathError(kind, "there is no memory for all flows") }
  }

  public func markAll(_ marks: ScopeMarks?) throws(PathError) {
    let marks = marks?.of(families)
    scope = marks
    guard let running else { return }
    guard
      running.thread.setScope(
        ipv6: marks?.ipv6.flatMap { StampWord($0) }, ipv4: marks?.ipv4.flatMap { StampWord($0) },
        except: ScopeExclusions(marks?.exclusions ?? .none))
    else { throw PathError(kind, fault ?? "the packet thread has ended") }
    updateActive()
  }

  public func readUsage(_ body: (FlowKey, Usage) -> Void) throws(PathError) {
    guard let running else { return kept.forEach(body) }
    running.thread.readUsage(body)
  }

  private func enter(_ key: FlowKey) {
    let bit = PortFilter.bit(of: key)
    if ports.insert(bit) { running?.gate.control.setPortBit(bit, true) }
    if key.isIPv4 { ipv4Flows += 1 } else { ipv6Flows += 1 }
  }

  private func leave(_ key: FlowKey) {
    let bit = PortFilter.bit(of: key)
    if ports.remove(bit) { running?.gate.control.setPortBit(bit, false) }
    if key.isIPv4 { ipv4Flows -= 1 } else { ipv6Flows -= 1 }
  }

  private func updateActive() {
    var active: Int32 = 0
    if ipv6Flows > 0 { active |= MARKER_FLOWS_IPV6 }
    if ipv4Flows > 0 { active |= MARKER_FLOWS_IPV4 }
    if scope?.ipv6 != nil { active |= MARKER_ALL_IPV6 }
    if scope?.ipv4 != nil { active |= MARKER_ALL_IPV4 }
    running?.gate.control.setActive(UInt32(active))
  }
}
