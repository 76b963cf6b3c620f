extension Flow {
  /// Whether asking the kernel for its socket may tell something.
  var mayHaveSocket: Bool { key.transport == .tcp && sighting != .none }
}

extension FlowTable {
  /// Notes a socket that a dump of all sockets has; bytes that moved are a sign of life. Sockets of no flow are passed
  /// over.
  ///
  /// - Parameter dump: its number; each dump has the next.
  public mutating func note(_ bytes: SocketBytes?, ofSocket key: FlowKey, dump: UInt32, at now: Moment) {
    guard let position = store.position(of: key) else { return }
    // UDP's flows are not over with a socket, unless they were found by it.
    if key.transport == .tcp || store[position].sighting.isSeen {
      if !store[position].sighting.isSeen { touch(key) }
      store[position].sighting = .seen(in: dump)
    }
    if store[position].counted == nil, let bytes {
      let before = store[position].moved?.sent ?? 0
      let age = now.wall.microseconds - store[position].start.microseconds
      let time = min(
        lastDumps[key.transport].map { now.monotonic.microseconds(since: $0.monotonic) } ?? .max, max(age, 1))
      store[position].rate = bytes.sent > before ? Float(bytes.sent - before) * 1e6 / Float(max(time, 1)) : 0
    }
    note(bytes, at: position, now)
  }

  /// Notes that a flow has a socket, as it was asked for alone: the next dump that lacks it tells of its end.
  public mutating func sight(_ key: FlowKey) {
    guard let position = store.position(of: key), !store[position].sighting.isSeen else { return }
    store[position].sighting = .known
    touch(key)
  }

  /// Notes what a socket has moved, as it was asked alone.
  public mutating func note(_ bytes: SocketBytes?, ofSocket key: FlowKey, at now: Moment) {
    guard let position = store.position(of: key) else { return }
    note(bytes, at: position, now)
  }

  private mutating func setMoved(_ bytes: SocketBytes, at position: Int) {
    let flow = store[position]
    if let known = flow.movedInTotals {
      totals.add(bytes, since: known, flow.tag, isIPv4: flow.key.isIPv4)
    }
    store[position].moved = bytes
  }

  private mutating func note(_ bytes: SocketBytes?, at position: Int, _ now: Moment) {
    guard let bytes else { return }
    if let moved = store[position].moved, moved != bytes { store[position].lastSeen = now.monotonic }
    setMoved(bytes, at: position)
  }

  /// Takes note that a dump of a transport's sockets is complete: hands out the flows whose socket an earlier dump had and this one has not.
  ///
  /// A dump may miss a socket that is there while its neighbours in the kernel's table close, so ask for each of them.
  ///
  /// - Returns: when the dump before began, which still had their sockets.
  public mutating func finishDump(
    _ dump: UInt32, of transport: TransportProtocol = .tcp, began: Moment, missing: (FlowKey) -> Void
  ) -> Moment? {
    for position in 0..<store.count where store[position].key.transport == transport {
      switch store[position].sighting {
      case .untold where transport == .udp: break
      case .untold: store[position].sighting = .missedOnce
      case .missedOnce: store[position].sighting = .none
      case .none, .seen(in: dump): break
      default: missing(store[position].key)
      }
    }
    defer { (lastDumps[transport], lastDumpNumbers[transport]) = (began, dump) }
    return lastDumps[transport]
  }

  /// Whether a flow ends with its socket though no setting says so: rules alone hold it.
  public func isFoundBySocket(_ key: FlowKey) -> Bool {
    store.position(of: key).map { store[$0].holders.areRules } ?? false
  }

  /// Whether the last dump of sockets had a flow's, or the one that goes on has.
  func hasLiveSocket(_ flow: Flow) -> Bool {
    guard let last = lastDumpNumbers[flow.key.transport] else { return false }
    return flow.sighting.isSeen(since: last)
  }

  /// Ends a flow whose socket is gone, whoever holds it.
  ///
  /// - Parameters:
  ///   - time: when the socket went. A later sign of life is believed more.
  ///   - bytes: the socket's last count, where it is known.
  /// - Returns: whether there was such a flow.
  @discardableResult
  public mutating func endWithSocket(
    _ key: FlowKey, _ bytes: SocketBytes?, report: TCPReport?, at time: WallClockTime, now: Moment,
    into batch: inout ChangeBatch
  ) -> Bool {
    guard let position = store.position(of: key) else { return false }
    if let bytes { setMoved(bytes, at: position) }
    // What is known now is the last that will be.
    store[position].sighting = .none
    end(position, at: time, into: &batch)
    batch.announcements[batch.announcements.count - 1].report = report
    counters.endedWithSocket += 1
    lately.insert(store.hash(key), at: now.monotonic)
    return true
  }

  /// When a flow last gave a sign of life; nil where there is no such flow.
  public func lastSeen(_ key: FlowKey) -> MonotonicTime? {
    store.position(of: key).map { store[$0].lastSeen }
  }

  /// Announces as ongoing the next so many flows. Calls go round the whole table, in the order of the store: with a
  /// share of the flows at each call every flow has its turn once a round, nothing is allocated or sorted, and flows
  /// that started together are not announced together for ever. A flow that takes the place of one that ended may have
  /// its turn up to a round early or late.
  public mutating func announceOngoing(_ number: Int, into batch: inout ChangeBatch) {
    for _ in 0..<min(number, store.count) {
      if cursor >= store.count { cursor = 0 }
      let flow = store[cursor]
      cursor += 1
      var announcement = Announcement(
        .ongoing, flow.key, flow.orientation, flow.tag, from: flow.origin, application: flow.application,
        start: flow.start,
        usage: flow.usage)
      announcement.moved = flow.moved
      announcement.mayHaveSocket = flow.mayHaveSocket
      batch.announcements.append(announcement)
    }
  }
}
