import Flow
import Linux
import Logging
import XDP

/// Keeps the tc path attached to the interfaces that are selected.
final class TCKeeper: PathKeeper {
  let tc: TCPath
  /// Nil where this path marks everything itself.
  private let need: ComplementNeed?
  private let log: Logger
  private let order: TCXOrder
  private var selected: [Interface]
  /// Attachments that failed and were told of, with the reason.
  private var complained: [UInt32: String] = [:]
  private var hooks: [UInt32: TCHook] = [:]
  private var toldOfUnmarked = false
  private var toldOfPins = false
  /// The families whose flows were marked before anything was attached.
  private let firstFamilies: AddressFamilies
  /// Marks outlive the daemon.
  private var isKeeping = false
  /// They are to, and something could not be pinned.
  private var lacksPins = false

  /// Loads the programs, gives them the flows and the scope, and attaches them.
  ///
  /// - Parameters:
  ///   - pins: where what outlives the daemon is pinned.
  ///   - need: where this path only marks what another does not reach.
  init(
    _ selected: [Interface], _ settings: Settings, _ plan: Plan, _ heritage: PathHeritage,
    need: ComplementNeed? = nil, log: Logger
  ) throws {
    self.log = log
    self.selected = selected
    self.need = need
    order = settings.tcOrder
    firstFamilies = plan.families(of: .tc)
    tc = try TCPath(
      maxFlows: settings.limits.maxFlows, hook: settings.tcHook, order: settings.tcOrder,
      insertsHeaders: settings.strategy.ipv6?.headers != nil, pins: heritage.pins, adopts: heritage.isAdopted)
    tc.families = firstFamilies
    try tc.takeOver(heritage.flows)
    try tc.markAll(settings.scope(plan))
    // Also where it is not needed yet: what cannot be had is found out now. It leaves when it was not needed for a while.
    for interface in selected { try attach(interface) }
    need?.isNeeded = true
    tc.isComplement = need != nil
  }

  private var wanted: [Interface] { need?.isNeeded ?? true ? selected : [] }

  var path: any MarkingPath { tc }
  var descriptor: Int32? { nil }
  /// Somebody may have removed our filter, or an attachment may have failed for the moment.
  var period: Int32? { 5000 }

  func tend(_ table: borrowing FlowTable) {
    for index in tc.lostInterfaces {
      log.warning("somebody removed our tc filter", metadata: ["index": "\(index)"])
      tc.detach(fromInterface: index)
    }
    applied()
    reconcile()
    if lacksPins { keepMarks() }
    if !toldOfUnmarked, tc.tooBigPackets > 0 || tc.unwritablePackets > 0 {
      toldOfUnmarked = true
      log.notice("some packets of tagged flows leave unmarked, as they came", metadata: unmarked)
    }
  }

  func standing(on interface: Interface) -> PathStanding {
    if tc.attachedInterfaces.contains(interface.index) {
      return PathStanding(marks: true, words: hooks[interface.index]?.rawValue ?? "")
    }
    if let reason = complained[interface.index] { return PathStanding(marks: false, words: reason) }
    return PathStanding(
      marks: need?.isNeeded == false,
      words: need?.isNeeded == false ? "not needed now: sockets mark all" : "not attached yet")
  }

  var tallies: [(event: String, count: UInt64)] {
    [("too_big", tc.tooBigPackets), ("not_writable", tc.unwritablePackets)]
  }

  /// Why packets of tagged flows left as they came, and how many.
  private var unmarked: Logger.Metadata {
    ["tooBig": "\(tc.tooBigPackets)", "notWritable": "\(tc.unwritablePackets)"]
  }

  /// Attaches before the batch's changes are announced where they need it.
  func applied() {
    guard let need, need.isNeeded == tc.attachedInterfaces.isEmpty, !selected.isEmpty else { return }
    reconcile()
    if !need.isNeeded {
      log.info("all that is tagged is marked by its sockets; tc is not attached meanwhile")
    }
  }

  func interfacesChanged(_ selected: [Interface], gone: Set<UInt32>) {
    self.selected = selected
    // An interface that went and one that came may have the same index.
    for index in gone { tc.detach(fromInterface: index) }
    reconcile()
  }

  private func reconcile() {
    for index in tc.attachedInterfaces where !wanted.contains(where: { $0.index == index }) {
      tc.detach(fromInterface: index)
    }
    for interface in wanted {
      do throws(BPFError) {
        if tc.attachedInterfaces.contains(interface.index) {
          try tc.setMTU(of: interface)
        } else {
          try attach(interface)
          if isKeeping { keepMarks() }
        }
        complained[interface.index] = nil
      } catch {
        guard complained.updateValue("\(error)", forKey: interface.index) == nil else { continue }
        log.error(
          "cannot mark; it is tried again", metadata: ["interface": "\(interface.name)", "error": "\(error)"])
      }
    }
  }

  /// Flows of families that have come since are missing; the others were there before anything was attached.
  func takeOver(_ table: borrowing FlowTable) throws(PathError) {
    guard !firstFamilies.isSuperset(of: tc.families) else { return }
    try tc.takeOver { body in
      table.forEachFlow { flow in
        if let mark = flow.mark, !firstFamilies.contains(flow.key) { body(flow.key, mark, flow.counted) }
      }
    }
  }

  func keepMarks() {
    isKeeping = true
    do throws(PathError) {
      try tc.keepMarks()
      if lacksPins { log.info("marks outlast the daemon again") }
      lacksPins = false
      toldOfPins = false
    } catch {
      lacksPins = tc.hasPlaceForPins
      guard !toldOfPins else { return }
      toldOfPins = true
      log.warning("marks end with the daemon", metadata: ["error": "\(error)"])
    }
  }

  var marksOutlive: Bool { !toldOfPins }

  func leaveMarks(for seconds: Int) { tc.leaveMarks(for: seconds) }

  func finish(successors: [any PathKeeper]) {
    tc.dropMarks(isFollowed: successors.contains { $0.path.kind == .tc })
    for index in tc.attachedInterfaces { tc.detach(fromInterface: index) }
    if tc.tooBigPackets > 0 || tc.unwritablePackets > 0 {
      log.info("packets of tagged flows that left unmarked, as they came", metadata: unmarked)
    }
  }

  private func attach(_ interface: Interface) throws(BPFError) {
    let hook = try tc.attach(to: interface)
    hooks[interface.index] = hook
    log.info(
      "marking", metadata: ["interface": "\(interface.name)", "path": "tc", "hook": "\(hook.rawValue)"])
    if tc.isMisplaced(on: interface.index) {
      log.warning(
        "the program that tc.order names is not at this interface's tcx; marker's runs first",
        metadata: ["interface": "\(interface.name)", "order": "\(order.text)"])
    } else if hook == .clsact, order != .first {
      log.warning(
        "tc.order is for tcx; clsact's filters run by priority, and marker's takes the first that is free",
        metadata: ["interface": "\(interface.name)", "order": "\(order.text)"])
    }
  }
}
