import Flow
import Linux

extension TableWriter {
  /// Answers what was asked, in its order; what changes flows when the kernel has the changes of all.
  func answer(_ asked: ContiguousArray<TableRequest>, at now: Moment, _ desk: inout Desk) {
    var outcomes: ContiguousArray<FlowTable.Outcome> = []
    for case .apply(let events, _) in asked {
      for event in events { outcomes.append(apply(event, at: now, &desk)) }
    }
    settleSockets(&desk, at: now)
    flush(&desk)
    var next = outcomes.startIndex
    for request in asked {
      switch request {
      case .apply(let events, let answer):
        var answers: ContiguousArray<FlowAnswer> = []
        answers.reserveCapacity(events.count)
        for event in events {
          answers.append(FlowAnswer(outcome: outcomes[next], flow: Self.find(event.flow, desk)))
          next += 1
        }
        answer(answers)
      case .find(let flow, let answer): answer(Self.find(flow, desk))
      case .list(let query, let answer): answer(desk.table.page(query))
      case .status(let counts, let answer):
        desk.wantsCount = desk.wantsCount || counts
        // Answered in the next turn, before which the counters are read.
        if !counts || !requests.offer(.status(counts: false, answer: answer)) { answer(Self.status(desk)) }
      case .top(var search):
        if search.isWatched { desk.watchedUntil = now.monotonic.advanced(milliseconds: Self.watchedTime) }
        if search.advance(in: desk.table) {
          search.answer(search.page(in: desk.table) { Self.path(of: $0, desk) })
        } else if !requests.offer(.top(search)) {
          // The rest would have been looked at in the next turn, so that whoever brings events does not wait.
          search.answer(search.page(in: desk.table) { Self.path(of: $0, desk) })
        }
      }
    }
  }

  /// Somebody looks at rates: they are reckoned more often for so long. Milliseconds.
  private static let watchedTime: Int64 = 15_000

  /// Which path stamps a flow's packets; nil for one that is announced only.
  private static func path(of flow: Flow, _ desk: borrowing Desk) -> PathKind? {
    guard flow.mark != nil else { return nil }
    for keeper in desk.keepers where keeper.path.families.contains(flow.key) {
      if let sock = keeper as? SockKeeper, !sock.reaches(flow.key) { continue }
      return keeper.path.kind
    }
    return nil
  }

  private static func find(_ flow: AnnouncedFlow, _ desk: borrowing Desk) -> Flow? {
    desk.table.flow(flow.normalised(localAddresses: desk.network.localAddresses).key)
  }

  private static func status(_ desk: borrowing Desk) -> TableStatus {
    var paths: [TableStatus.Path] = []
    for keeper in desk.keepers {
      paths.append(TableStatus.Path(kind: keeper.path.kind, families: keeper.path.families))
    }
    return TableStatus(
      flows: desk.table.count, counters: desk.table.counters, totals: desk.table.totals,
      settings: desk.settings, plan: desk.plan, paths: paths,
      interfaces: desk.network.selected.map(\.name), places: places(desk),
      tallies: desk.tallies.sums(with: desk.keepers), scope: desk.tallies.scope(with: desk.keepers))
  }

  /// Each family on each interface, by the paths that mark there.
  private static func places(_ desk: borrowing Desk) -> [TableStatus.Place] {
    var places: [TableStatus.Place] = []
    for (isIPv4, assignment) in [(false, desk.plan.ipv6), (true, desk.plan.ipv4)] {
      guard let assignment else { continue }
      let family: AddressFamilies = isIPv4 ? .ipv4 : .ipv6
      let keepers = desk.keepers.filter { !$0.path.families.isDisjoint(with: family) }
      if keepers.isEmpty {
        let reasons = assignment.rejections.map { "\($0.path.rawValue): \($0.finding)" }
        places.append(
          TableStatus.Place(
            interface: "", isIPv4: isIPv4, path: nil, stamp: assignment.stamp, marks: false,
            words: reasons.joined(separator: "; ")))
      }
      for interface in interfaces(desk) {
        for keeper in keepers {
          let standing = keeper.standing(on: interface)
          places.append(
            TableStatus.Place(
              interface: interface.name, isIPv4: isIPv4, path: keeper.path.kind, stamp: assignment.stamp,
              marks: standing.marks, words: standing.words))
        }
      }
    }
    return places
  }

  private static func interfaces(_ desk: borrowing Desk) -> [Interface] {
    guard let outside = desk.settings.inline.outside else { return desk.network.selected }
    // By name alone: the port may not be here at the moment.
    return [Interface(index: 0, name: outside, hardwareType: 0)]
  }
}

extension FlowTable {
  /// Flows that are looked at for one page: about a millisecond.
  static let pageScan = 65_536

  /// The flows of a query from a place on. A page may have fewer than its limit, or none, and others behind it: the
  /// table's writer has more to do.
  borrowing func page(_ query: FlowQuery) -> FlowPage {
    var page = FlowPage()
    page.total = count
    var position = query.from
    let end = min(count, query.from + Self.pageScan)
    while position < end {
      let flow = self[position]
      let fits =
        (query.experiment ?? flow.tag.experiment) == flow.tag.experiment
        && (query.activity ?? flow.tag.activity) == flow.tag.activity
      if fits {
        guard page.flows.count < query.limit else {
          page.next = position
          return page
        }
        page.flows.append(flow)
      }
      position += 1
    }
    if position < count { page.next = position }
    return page
  }
}
