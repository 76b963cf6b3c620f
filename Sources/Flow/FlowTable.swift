/// Every tagged flow of this host, and the rules of a flow's life. One writer owns it.
public struct FlowTable: ~Copyable {
  public struct Limits: Equatable, Sendable {
    /// Beyond this many flows new ones are refused; no flow is ever evicted for another.
    public var maxFlows: Int
    /// A marked flow that sends nothing for this long, and of which no source speaks, has ended. Microseconds.
    public var idleTimeout: Int64
    /// The same for a flow that no path counts, whose silence nobody can see. Microseconds.
    public var uncountedTimeout: Int64

    public init(
      maxFlows: Int = 1_000_000, idleTimeout: Int64 = 3_600_000_000,
      uncountedTimeout: Int64 = 86_400_000_000
    ) {
      self.maxFlows = maxFlows
      self.idleTimeout = idleTimeout
      self.uncountedTimeout = uncountedTimeout
    }
  }

  /// What became of one event.
  public enum Outcome: Equatable, Sendable {
    case started
    /// The flow was known; its tag may have changed.
    case refreshed
    case ended
    /// Another source still holds the flow.
    case released
    /// An end for a flow that is not known.
    case unknownEnd
    /// The table is full.
    case refusedFull
    /// Hearsay of a flow that has no end here, nor in `networks`, and that no source of this host holds.
    case notLocal
  }

  /// Events since the start, by what became of them.
  public struct Counters: Equatable, Sendable {
    public var started: UInt64 = 0
    public var refreshed: UInt64 = 0
    public var ended: UInt64 = 0
    public var released: UInt64 = 0
    public var unknownEnds: UInt64 = 0
    public var refusedFull: UInt64 = 0
    public var notLocal: UInt64 = 0
    /// Flows that the table ended itself because they fell silent.
    public var aged: UInt64 = 0
    /// Flows that ended with their socket, whoever held them.
    public var endedWithSocket: UInt64 = 0
    /// Starts and changes of tag whose tag has no mark: announced only.
    public var refusedMarks: UInt64 = 0
  }

  private var policy: MarkPolicy
  private(set) var limits: Limits
  var store: FlowStore
  /// Flows whose records have changed, were made or are gone, where records are kept.
  var touched: ContiguousArray<FlowKey> = []
  private let keepsRecords: Bool
  /// The place in the store at which the next ongoing flow is announced.
  var cursor = 0
  /// The numbers of these dumps.
  var lastDumpNumbers: [TransportProtocol: UInt32] = [:]
  /// When the last dump of a transport's sockets began that was taken note of to its end.
  var lastDumps: [TransportProtocol: Moment] = [:]
  var lately = LateEnds()
  private var random: UInt64
  public internal(set) var counters = Counters()
  public internal(set) var totals = TagTotals()
  /// When the paths' counters were read last, and the time before.
  private var readings: (last: MonotonicTime, before: MonotonicTime)
  /// The networks of hosts that this one marks for: an address in them counts as local.
  public var networks: [Network] = []

  /// - Parameters:
  ///   - seed: random; it keys the hash and the flows' entropy.
  ///   - keepsRecords: whether `remember` is called from time to time.
  public init(policy: MarkPolicy, limits: Limits = Limits(), seed: UInt64, keepsRecords: Bool = false) {
    self.policy = policy
    self.limits = limits
    self.keepsRecords = keepsRecords
    store = FlowStore(seed: seed)
    random = seed ^ 0x6a09_e667_f3bc_c908
    readings = (MonotonicTime(nanoseconds: 0), MonotonicTime(nanoseconds: 0))
  }

  public var count: Int { store.count }

  public func has(_ key: FlowKey) -> Bool { store.position(of: key) != nil }

  public func flow(_ key: FlowKey) -> Flow? {
    store.position(of: key).map { store[$0] }
  }

  /// The flow at a place, 0..<`count`. An end moves the last flow into the place of the one that ended.
  public subscript(place: Int) -> Flow { store[place] }

  /// Calls `body` with every flow, in no particular order.
  public func forEachFlow(_ body: (Flow) -> Void) {
    for position in 0..<store.count { body(store[position]) }
  }

  /// Applies one event; what it changes is appended to the batch.
  @discardableResult
  public mutating func apply(
    _ event: FlowEvent, at now: Moment, localAddresses: Set<Address>, into batch: inout ChangeBatch
  ) -> Outcome {
    let (key, orientation) = event.flow.normalised(localAddresses: localAddresses, networks: networks)
    let position = store.position(of: key) ?? turned(key, orientation, localAddresses, into: &batch)
    if position == nil, event.origin.isHearsay, !key.local.address.isAmong(localAddresses, networks) {
      counters.notLocal += 1
      return .notLocal
    }
    switch (event.state, position) {
    case (.start, nil), (.ongoing, nil):
      guard store.count < limits.maxFlows else {
        counters.refusedFull += 1
        return .refusedFull
      }
      start(event, key, orientation, at: now, into: &batch)
      counters.started += 1
      return .started
    case (.start, let position?), (.ongoing, let position?):
      refresh(position, event, at: now, into: &batch)
      counters.refreshed += 1
      return .refreshed
    case (.end, let position?):
      store[position].holders.remove(Holders(event.origin))
      guard store[position].holders.isEmpty else {
        touch(store[position].key)
        counters.released += 1
        return .released
      }
      end(position, at: event.endTime ?? now.wall, into: &batch)
      counters.ended += 1
      return .ended
    case (.end, nil):
      counters.unknownEnds += 1
      // Its socket may have been quicker to tell than its source.
      if lately.take(store.hash(key), at: now.monotonic) { return .unknownEnd }
      // With its start time known, the flow's whole life can still be told. Hearsay was told by its author, and telling
      // it again could come back as hearsay without end.
      if let start = event.startTime, !event.origin.isHearsay {
        batch.announcements.append(
          Announcement(
            .end, key, orientation, event.tag, from: event.origin, application: event.application,
            start: start,
            end: max(start, event.endTime ?? now.wall)))
      }
      return .unknownEnd
    }
  }

  /// The counters of the paths are read now: rates are reckoned from one reading to the next.
  public mutating func beginReading(at now: MonotonicTime) { readings = (now, readings.last) }

  /// Notes what a path has counted for a flow; a count that moved is a sign of life.
  ///
  /// - Returns: whether there is such a flow.
  @discardableResult
  public mutating func note(
    _ usage: Usage, of key: FlowKey, at now: Moment, by path: PathKind = .tc
  ) -> Bool {
    guard let position = store.position(of: key) else { return false }
    // What another process counted and did not tell is not ours to add.
    let isKnown = !(store[position].isInherited && store[position].usage == nil)
    let before = isKnown ? store[position].counted : usage
    totals.add(usage, since: before, by: path, store[position].tag, isIPv4: key.isIPv4)
    let age = now.wall.microseconds - store[position].start.microseconds
    let time = min(readings.last.microseconds(since: readings.before), max(age, 1))
    let old = before?.bytes ?? 0
    store[position].rate = time > 0 && usage.bytes > old ? Float(usage.bytes - old) * 1e6 / Float(time) : 0
    if before?.packets ?? 0 != usage.packets { store[position].lastSeen = now.monotonic }
    store[position].counted = usage
    return true
  }

  /// Ends every flow that has been silent too long, with the time of its last sign of life. A flow whose socket is
  /// there has not ended, whatever it sends: its end will be seen.
  public mutating func age(at now: Moment, into batch: inout ChangeBatch) {
    var position = 0
    while position < store.count {
      let flow = store[position]
      let silence = now.monotonic.microseconds(since: flow.lastSeen)
      if silence >= (flow.usage == nil ? limits.uncountedTimeout : limits.idleTimeout), !hasLiveSocket(flow) {
        end(position, at: now.wall(at: flow.lastSeen), into: &batch)
        counters.aged += 1
      } else {
        position += 1
      }
    }
  }

  /// Decides by another policy from now on, for the flows that are there too. Where a label stays one, so do its entropy
  /// bits.
  public mutating func setPolicy(_ policy: MarkPolicy, into batch: inout ChangeBatch) {
    self.policy = policy
    for position in 0..<store.count {
      let flow = store[position]
      let mark = mark(for: flow.tag, flow.key, entropy: flow.mark?.label?.label.value)
      store[position].mark = mark
      if mark?.label != flow.mark?.label { touch(flow.key) }
      change(flow.key, from: flow.mark, to: mark, into: &batch)
    }
  }

  /// Keeps to other limits from now on. Flows beyond a lower `maxFlows` stay until they end.
  public mutating func setLimits(_ limits: Limits) { self.limits = limits }

  /// Ends every flow: whoever watched them stops.
  public mutating func endAll(at now: Moment, into batch: inout ChangeBatch) {
    while store.count > 0 { end(store.count - 1, at: now.wall, into: &batch) }
  }

  /// Ends the flows that one origin alone holds, where what it said of them holds no more.
  public mutating func end(
    heldBy origin: Origin, at now: Moment, into batch: inout ChangeBatch, where isOver: (FlowKey) -> Bool
  ) {
    var position = 0
    while position < store.count {
      if store[position].holders == Holders(origin), isOver(store[position].key) {
        end(position, at: now.wall, into: &batch)
        counters.ended += 1
      } else {
        position += 1
      }
    }
  }

  /// A flow that was entered the other way round, because this host's addresses were others then: IPv6 loses its own
  /// when a link goes down. It is turned if it is known better now.
  private mutating func turned(
    _ key: FlowKey, _ orientation: Orientation, _ localAddresses: Set<Address>, into batch: inout ChangeBatch
  ) -> Int? {
    let reverse = FlowKey(local: key.remote, remote: key.local, transport: key.transport)
    guard let position = store.position(of: reverse) else { return nil }
    guard key.local.address.isAmong(localAddresses, networks),
      !reverse.local.address.isAmong(localAddresses, networks)
    else { return position }
    var flow = store[position]
    store.remove(at: position)
    if let mark = flow.mark { batch.changes.append(ChangeBatch.Change(.unmark, reverse, mark)) }
    flow.key = key
    flow.orientation = orientation
    store.insert(flow)
    touch(reverse)
    touch(key)
    if let mark = flow.mark { batch.changes.append(ChangeBatch.Change(.mark, key, mark)) }
    return store.count - 1
  }

  /// Notes what became of a batch's changes: a mark that was refused is tried again when the flow is next spoken of, and
  /// what was counted until a mark was taken away is kept.
  public mutating func settle(_ batch: borrowing ChangeBatch) {
    for change in batch.changes {
      guard change.failure != nil || change.action == .unmark, let position = store.position(of: change.key)
      else {
        continue
      }
      if change.failure != nil, change.action != .unmark { store[position].mark = nil }
      guard change.action == .unmark else { continue }
      if let usage = change.usage {
        totals.add(
          usage, since: store[position].counted, by: change.counter ?? .tc, store[position].tag,
          isIPv4: change.key.isIPv4)
        store[position].counted = usage
        store[position].base = store[position].usage
      }
      store[position].counted = nil
    }
    for announcement in batch.announcements where announcement.state == .end { settle(announcement, batch) }
  }

  /// Adds what was counted last of a flow that has ended.
  private mutating func settle(_ end: Announcement, _ batch: borrowing ChangeBatch) {
    let isIPv4 = end.key.isIPv4
    if let place = end.change, let last = batch.changes[Int(place)].usage {
      let change = batch.changes[Int(place)]
      let known = end.usage.map { usage in
        Usage(packets: usage.packets - (end.base?.packets ?? 0), bytes: usage.bytes - (end.base?.bytes ?? 0))
      }
      totals.add(last, since: known, by: change.counter ?? .tc, end.tag, isIPv4: isIPv4)
    }
    if let moved = end.moved, let known = end.movedInTotals {
      totals.add(moved, since: known, end.tag, isIPv4: isIPv4)
    }
  }

  private mutating func start(
    _ event: FlowEvent, _ key: FlowKey, _ orientation: Orientation, at now: Moment,
    into batch: inout ChangeBatch
  ) {
    let mark = mark(for: event.tag, key, entropy: event.entered)
    var flow = Flow(
      key: key, tag: event.tag, orientation: orientation, application: event.application,
      origin: event.origin, mark: mark, start: event.startTime ?? now.wall, lastSeen: now.monotonic)
    // A rule found it by its socket.
    if event.origin.isRule { flow.sighting = .known }
    store.insert(flow)
    totals.withRow(event.tag, isIPv4: key.isIPv4) { row in
      row.flows += 1
      row.started += 1
    }
    touch(key)
    if let mark {
      batch.changes.append(ChangeBatch.Change(.mark, key, mark, isEntered: event.entered != nil))
    }
    var announcement = Announcement(
      .start, key, orientation, flow.tag, from: flow.origin, application: flow.application, start: flow.start)
    announcement.mayHaveSocket = flow.mayHaveSocket
    batch.announcements.append(announcement)
  }

  private mutating func refresh(
    _ position: Int, _ event: FlowEvent, at now: Moment, into batch: inout ChangeBatch
  ) {
    store[position].lastSeen = now.monotonic
    // For a weaker source it is a sign of life, no more: a firefly may be our own come back, and would then keep the flow
    // when its source ends it; a rule would keep it as long as its socket.
    let rank = store[position].holders.rank
    guard event.origin.rank >= rank else { return }
    let before = store[position].holders
    if event.origin.rank > rank { store[position].holders = [] }
    store[position].holders.insert(Holders(event.origin))
    if store[position].holders != before { touch(store[position].key) }
    let old = store[position]
    guard event.tag != old.tag || old.mark == nil else { return }
    let mark = mark(for: event.tag, old.key, counts: event.tag != old.tag)
    totals.withRow(old.tag, isIPv4: old.key.isIPv4) { $0.flows -= 1 }
    totals.withRow(event.tag, isIPv4: old.key.isIPv4) { $0.flows += 1 }
    store[position].tag = event.tag
    store[position].mark = mark
    touch(old.key)
    change(old.key, from: old.mark, to: mark, into: &batch)
  }

  private func change(_ key: FlowKey, from old: Mark?, to new: Mark?, into batch: inout ChangeBatch) {
    switch (old, new) {
    case (nil, let new?): batch.changes.append(ChangeBatch.Change(.mark, key, new))
    case (let old?, let new?):
      if new != old { batch.changes.append(ChangeBatch.Change(.remark, key, new)) }
    case (let old?, nil): batch.changes.append(ChangeBatch.Change(.unmark, key, old))
    case (nil, nil): break
    }
  }

  mutating func end(
    _ position: Int, at time: WallClockTime, into batch: inout ChangeBatch
  ) {
    let flow = store[position]
    store.remove(at: position)
    totals.withRow(flow.tag, isIPv4: flow.key.isIPv4) { row in
      row.flows -= 1
      row.ended += 1
    }
    touch(flow.key)
    var change: Int32?
    if let mark = flow.mark {
      change = Int32(batch.changes.count)
      batch.changes.append(ChangeBatch.Change(.unmark, flow.key, mark))
    }
    var announcement = Announcement(
      .end, flow.key, flow.orientation, flow.tag, from: flow.origin, application: flow.application,
      start: flow.start, end: max(flow.start, time), usage: flow.usage, change: change, base: flow.base)
    announcement.moved = flow.moved
    announcement.movedInTotals = flow.movedInTotals
    announcement.mayHaveSocket = flow.mayHaveSocket
    batch.announcements.append(announcement)
  }

  mutating func touch(_ key: FlowKey) {
    if keepsRecords { touched.append(key) }
  }

  /// - Parameters:
  ///   - entropy: nil draws it.
  ///   - counts: whether a refusal is news.
  mutating func mark(
    for tag: SciTag, _ key: FlowKey, entropy: UInt32? = nil, counts: Bool = true
  ) -> Mark? {
    switch policy.decide(tag, isIPv4: key.isIPv4, entropy: entropy ?? nextRandom()) {
    case .mark(let mark): return mark
    case .notStamped: return nil
    case .refused:
      if counts { counters.refusedMarks += 1 }
      return nil
    }
  }

  /// SplitMix64: the next of a sequence that is different for every seed.
  private mutating func nextRandom() -> UInt32 {
    random &+= 0x9e37_79b9_7f4a_7c15
    var bits = random
    bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
    return UInt32(truncatingIfNeeded: bits >> 31)
  }
}
