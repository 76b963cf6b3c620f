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
      case .status(let answer): answer(Self.status(desk))
      }
    }
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
      flows: desk.table.count, counters: desk.table.counters, settings: desk.settings, plan: desk.plan,
      paths: paths, interfaces: desk.network.selected.map(\.name))
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
