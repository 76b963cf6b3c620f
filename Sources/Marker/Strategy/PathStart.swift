import Flow
import Linux
import Logging
import NFT
import XDP

/// Starts the paths of a plan. What cannot be had is marked down as not able, and the plan is made again without it,
/// until all that it wants is there: fallbacks are nothing but the next plan.
///
/// Nothing is probed beforehand that starting it shows as well. Only of nft the mark is read back first, because
/// there are kernels whose rules load and do nothing.
struct PathStart {
  /// Opens a path that is to mark packets of these families.
  ///
  /// The plan says what other paths there will be; `paths` of it that come before are open.
  typealias Open = (PathKind, Plan) throws -> any PathKeeper

  private let settings: Settings
  private let log: Logger
  private let open: Open
  /// What a path stamps here, read back from a packet.
  private let readBack: (PathKind, [Stamp]) -> [Stamp: Finding]
  private var abilities = PathAbilities()
  private var readBackStamps: [PathKind: Set<Stamp>] = [:]
  private var keepers: [any PathKeeper] = []
  /// What was opened goes again where the start fails. Not where marks were there before: they would go with it.
  private let undoes: Bool

  /// - Parameters:
  ///   - undoes: take away again what was opened, where the start fails.
  ///   - open, readBack: replaced by tests.
  init(
    _ settings: Settings, log: Logger, undoes: Bool = true, open: @escaping Open,
    readBack: ((PathKind, [Stamp]) -> [Stamp: Finding])? = nil
  ) {
    self.settings = settings
    self.log = log
    self.open = open
    self.readBack = readBack ?? { Self.readBack($0, $1, settings.entropy) }
    self.undoes = undoes
  }

  private static func readBack(
    _ path: PathKind, _ stamps: [Stamp], _ entropy: LabelEntropy
  ) -> [Stamp: Finding] {
    switch path {
    case .nft: return NFTPath.probe(stamps)
    case .sock:
      var findings = SockPath.probe(stamps).stamps
      let label = SockConditions.label(entropy)
      if label.isNo, findings[.label] != nil { findings[.label] = label }
      return findings
    case .tc, .xdp, .raw: return [:]
    }
  }

  /// - Returns: the plan that is carried out, and its paths, each with the families that it serves. No paths where
  ///   none works and none was named.
  /// - Throws: where a path was named and does not work.
  mutating func start() throws(PlanError) -> (plan: Plan, keepers: [any PathKeeper]) {
    do throws(PlanError) { return try carryOut() } catch {
      if undoes { for keeper in keepers { keeper.finish(successors: []) } }
      throw error
    }
  }

  private mutating func carryOut() throws(PlanError) -> (plan: Plan, keepers: [any PathKeeper]) {
    var plan = try settings.plan(abilities)
    while let path = plan.paths.first(where: { !isReady($0, plan) }) {
      prepare(path, plan)
      let next = try settings.plan(abilities)
      for (old, new) in zip(plan.assignments, next.assignments) where old.path != new.path { tell(old, new) }
      plan = next
    }
    for keeper in keepers { keeper.path.families = plan.families(of: keeper.path.kind) }
    for keeper in keepers where keeper.path.families.isEmpty { keeper.finish(successors: []) }
    // A path before its complement: it looks at what changes before that has changed it.
    keepers.sort { !plan.isComplement($0.path.kind) && plan.isComplement($1.path.kind) }
    return (plan, keepers.filter { !$0.path.families.isEmpty })
  }

  private func isLive(_ path: PathKind) -> Bool { keepers.contains { $0.path.kind == path } }

  private func isReady(_ path: PathKind, _ plan: Plan) -> Bool {
    isLive(path) && wasReadBack(path, plan)
  }

  /// Programs at tc and the packet thread do what they were made for; what the other ways do is up to more of the kernel.
  private func wasReadBack(_ path: PathKind, _ plan: Plan) -> Bool {
    [.tc, .xdp, .raw].contains(path)
      || readBackStamps[path, default: []].isSuperset(of: plan.stamps(of: path))
  }

  /// Brings a path one step nearer, or finds that it does not work.
  private mutating func prepare(_ path: PathKind, _ plan: Plan) {
    let stamps = plan.stamps(of: path)
    if !wasReadBack(path, plan) {
      readBackStamps[path, default: []].formUnion(stamps)
      let findings = readBack(path, stamps)
      abilities.merge(path, findings)
      if let finding = findings.values.first(where: { $0.verdict == .untried }) {
        log.notice(
          "whether \(path.rawValue) marks here could not be tried beforehand",
          metadata: ["reason": "\(finding)"])
      }
      return
    }
    do {
      keepers.append(try open(path, plan))
    } catch {
      if case BPFError.load(_, let details) = error, !details.isEmpty { log.debug("\(details)") }
      abilities.set(path, to: .no((error as? PathError)?.reason ?? "\(error)"))
    }
  }

  private func tell(_ old: Plan.Assignment, _ new: Plan.Assignment) {
    guard let failed = old.path else { return }
    let finding = abilities[failed, old.stamp]
    guard let path = new.path else {
      log.warning(
        "no path works; packets are not marked, the flows are announced by fireflies only",
        metadata: [
          "wanted": "\(old.stamp.words)",
          "reasons": "\(new.rejections.map { "\($0.path.rawValue): \($0.finding)" }.joined(separator: ". "))",
        ])
      return
    }
    log.warning(
      "a path does not work; taking the next",
      metadata: [
        "wanted": "\(old.stamp.words)", "path": "\(failed.rawValue)", "reason": "\(finding)",
        "next": "\(path.rawValue)",
      ])
  }
}

extension PathStart {
  /// Opens real paths.
  ///
  /// - Parameters:
  ///   - heritage: what other paths mark until now.
  ///   - predecessors: those paths, where they are this daemon's.
  init(
    _ settings: Settings, interfaces: [Interface], heritage: PathHeritage = PathHeritage(),
    predecessors: [any PathKeeper] = [], log: Logger
  ) {
    let need = ComplementNeed()
    var complement: TCKeeper?
    let undoes = predecessors.isEmpty && !heritage.isAdopted
    self.init(settings, log: log, undoes: undoes) { path, plan in
      switch path {
      case .sock:
        let isCompleted = plan.assignments.contains { $0.path == .sock && $0.complement != nil }
        return try SockKeeper(
          settings, complement: isCompleted ? complement?.tc : nil, need: need,
          following: predecessors.lazy.compactMap { $0 as? SockKeeper }.first, pins: heritage.pins, log: log)
      case .tc:
        let keeper = try TCKeeper(
          interfaces, settings, plan, heritage, need: plan.isComplement(.tc) ? need : nil, log: log)
        complement = keeper
        return keeper
      case .nft:
        return try NFTKeeper(
          interfaces, families: plan.families(of: path), maxFlows: settings.limits.maxFlows,
          flows: heritage.flows, scope: settings.scope(plan), log: log)
      case .xdp, .raw:
        return try InlineKeeper(
          settings.inline, path, maxFlows: settings.limits.maxFlows, hook: settings.tcHook, log: log)
      }
    }
    abilities.engines = InlineKeeper.engines(settings.inline)
  }
}
