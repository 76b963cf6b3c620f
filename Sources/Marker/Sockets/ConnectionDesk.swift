import Flow
import Linux
import Logging
import XDP

/// What the table's writer does about connections that rules find as they begin. The writer's thread alone uses it.
struct ConnectionDesk {
  /// Has a program told of connections: the rules, what is stamped, the path to enter into, the control group's folder.
  typealias Open = ([SocketRule], MarkPolicy, TCPath?, String) throws(BPFError) -> ConnectionWatch
  private let makeWatch: Open

  /// Nil where no rule is for TCP, or the kernel has no such programs; then dumps of sockets find the connections.
  private var watch: ConnectionWatch?
  /// The one before, until what it told of is taken.
  private var former: ConnectionWatch?
  private var toldLost: UInt64 = 0
  /// The path that connections are entered into before the table has them.
  private var path: TCPath?
  /// Whether the former entered connections into the same.
  private var isSamePath = true
  private var rules: [SocketRule] = []
  /// Entries of the path that the table did not have at the last look.
  private var strays: Set<FlowKey> = []
  private var complaint = ""

  /// - Parameter open: replaced by tests.
  init(
    open: @escaping Open = { rules, policy, path, group throws(BPFError) in
      try ConnectionWatch(rules, policy, entering: path, group: group)
    }
  ) {
    makeWatch = open
  }

  /// Readable while connections wait to be looked at.
  var descriptor: Int32? { watch?.descriptor }

  /// Whether connections are told of as they begin.
  var isLive: Bool { watch != nil }

  /// The path that connections are entered into, where it is a keeper's own and they are entered.
  func path(of keeper: any PathKeeper) -> TCPath? {
    guard isLive, let path else { return nil }
    if let keeper = keeper as? TCKeeper { return keeper.tc === path ? path : nil }
    // With a complement it is that one's.
    guard let keeper = keeper as? SockKeeper, !keeper.hasComplement, keeper.table === path else { return nil }
    return path
  }

  /// Follows other rules, or enters into other paths, from now on. What was there before goes on until the new is there.
  /// `take` then has what that told of until its end.
  mutating func follow(_ settings: Settings, _ plan: Plan, _ keepers: [any PathKeeper], log: Logger) {
    rules = settings.socketRules
    let newPath = keepers.lazy.compactMap { ($0 as? TCKeeper)?.tc ?? ($0 as? SockKeeper)?.table }.first
    var new: ConnectionWatch?
    if rules.contains(where: { $0.transports.contains(.tcp) }), settings.sockets.group != .none {
      new = open(settings, plan, newPath, log)
    }
    newPath?.isWatched = new != nil
    former = watch
    isSamePath = path === newPath
    path = newPath
    watch = new
    toldLost = 0
    strays.removeAll()
  }

  private mutating func open(
    _ settings: Settings, _ plan: Plan, _ path: TCPath?, _ log: Logger
  ) -> ConnectionWatch? {
    let reason: String
    do {
      if let folder = try settings.sockets.group.folder() {
        let watch = try makeWatch(rules, settings.policy(plan), path, folder)
        if complaint != folder {
          log.info(
            "connections are told of as they begin",
            metadata: [
              "cgroup": "\(folder)", "marking": "\(path == nil ? "later" : "from the first packet")",
            ])
        }
        complaint = folder
        return watch
      }
      reason = "cgroup2 is not mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)"
    } catch {
      if case BPFError.load(_, let details) = error, !details.isEmpty { log.debug("\(details)") }
      reason = "\(error)"
    }
    if complaint != reason {
      log.warning(
        "the kernel does not tell of connections as they begin; sockets are looked for",
        metadata: ["every": "\(settings.sockets.period / 1_000_000)s", "reason": "\(reason)"])
    }
    complaint = reason
    return nil
  }

  /// Tells of no more.
  mutating func stop() {
    (watch, former) = (nil, nil)
    path?.isWatched = false
  }

  /// Takes the connections that began.
  ///
  /// - Parameter apply: applies the start of a flow.
  mutating func take(
    _ sockets: SocketDesk?, _ apply: (FlowEvent) -> (outcome: FlowTable.Outcome, mark: Mark?)
  ) -> Taken {
    var taken = Taken()
    if let former {
      while former.take({ judge($0, of: former, hasPath: isSamePath, sockets, &taken, apply) }) > 0 {}
      self.former = nil
    }
    guard let watch else { return taken }
    watch.take { judge($0, of: watch, hasPath: true, sockets, &taken, apply) }
    if watch.lost != toldLost {
      toldLost = watch.lost
      taken.lost = watch.lost
      sockets?.watch.hurry()
    }
    return taken
  }

  private func judge(
    _ event: ConnectionWatch.Event, of watch: ConnectionWatch, hasPath: Bool, _ sockets: SocketDesk?,
    _ taken: inout Taken, _ apply: (FlowEvent) -> (outcome: FlowTable.Outcome, mark: Mark?)
  ) {
    let key = event.key
    let entered = hasPath ? event.entered : nil
    if case .dropped = event.kind {
      if hasPath { path?.closePorts(of: key) }
      return
    }
    func forget() {
      guard entered != nil, let path else { return }
      do throws(PathError) { try path.forget(key) } catch { taken.failure = error }
    }
    // By the rules as they are now: the program may be one of before.
    switch rules.answer(key) {
    case .none: forget()
    case .undecided:
      forget()
      sockets?.watch.ask(key)
    case .tags(let tags, let origin):
      // Where the kernel does not tell, the connection may be another namespace's.
      if !watch.knowsNamespaces, let sockets, !sockets.isAnywhere(key) { return forget() }
      let tag = tags.chosen(for: key)
      let isSame = if case .tagged(tag) = event.kind { true } else { false }
      let result = apply(
        FlowEvent(
          .start, AnnouncedFlow(key, .outbound), tag, from: origin, entered: isSame ? entered : nil))
      // Else the table knows it by another's word, or has no room.
      guard entered != nil, result.outcome != .started else { return }
      if let mark = result.mark { taken.remarks.append((key, mark)) } else { forget() }
    }
  }

  /// What came of connections besides flows.
  struct Taken {
    /// Entries that are to get the table's own mark.
    var remarks: [(key: FlowKey, mark: Mark)] = []
    var failure: PathError?
    /// Connections that were not told of, all in all, where there are more than before.
    var lost: UInt64?
  }

  /// Looks for entries of the path that belong to no flow and no connection: of other namespaces where the kernel does
  /// not tell, or of connections whose end was not told of.
  ///
  /// - Parameter unknown: the entries that the table does not have.
  mutating func sweep(_ unknown: [FlowKey], _ sockets: SocketDesk?) throws(PathError) {
    guard isLive, let path, let sockets else { return }
    // Twice in a row, so that nothing is taken for a stray that is on its way to the table.
    for key in unknown where strays.contains(key) && !sockets.isAnywhere(key) { try path.forget(key) }
    strays = Set(unknown)
  }
}
