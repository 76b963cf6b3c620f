import Flow
import Linux
import Logging
import XDP

/// Has the sockets of tagged flows found in good time, and says when another path is needed beside them.
final class SockKeeper: PathKeeper {
  private let sock: SockPath
  private let need: ComplementNeed
  let hasComplement: Bool
  private let hasPredecessor: Bool
  private let log: Logger
  private let alarm: Alarm
  /// Before then sockets are not looked for again.
  private var pausesUntil = MonotonicTime.now()
  /// Since when all flows are reached; nil while they are not.
  private var quietSince: MonotonicTime?
  private var refused: UInt64 = 0
  private var labelsWork = true
  private let entropy: LabelEntropy

  /// A search is followed by a pause of so many times what it took, so that searches cost at most 5 % of a processor,
  /// and of at least so many microseconds.
  private static let (idleShare, shortestPause): (Int64, Int64) = (20, 10_000)
  /// How long nothing may need the complement before it leaves. Microseconds.
  private static let patience: Int64 = 10_000_000
  /// How long sockets are waited for at the end. Milliseconds.
  private static let releaseTime = 200

  /// - Parameters:
  ///   - complement: marks what sockets do not; nil where this path was named alone.
  ///   - need: to be told when the complement is needed.
  init(
    _ settings: Settings, complement: TCPath?, need: ComplementNeed, following predecessor: SockKeeper?,
    pins: BPFFolder?, log: Logger
  ) throws {
    guard settings.sockets.group != .none else {
      throw PathError(.sock, "sockets.cgroup is none: sockets are left alone")
    }
    guard let group = try settings.sockets.group.folder() else {
      throw PathError(
        .sock, "cgroup2 is not mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)")
    }
    self.log = log
    self.need = need
    entropy = settings.entropy
    hasComplement = complement != nil
    hasPredecessor = predecessor != nil
    alarm = try Alarm()
    sock = try SockPath(
      maxFlows: settings.limits.maxFlows, group: group, complement: complement, following: predecessor?.sock,
      pins: pins)
    log.info("marking", metadata: ["path": "sock", "cgroup": "\(group)"])
    if let reason = sock.noIterator {
      log.info(
        "connections that are there already are set as they are acknowledged; earlier ones are not found",
        metadata: ["reason": "\(reason)"])
    }
    if !hasComplement {
      log.warning("\(Self.gaps)")
    }
  }

  private static let gaps =
    "path sock marks TCP of this host's own sockets alone: no UDP, no routed traffic or other network namespaces, "
    + "no SYN-ACK, no packet of a connection that has no socket any more"

  var path: any MarkingPath { sock }
  /// Where programs that find connections enter them.
  var table: TCPath { sock.table }
  /// Readable when a search that was put off is due.
  var descriptor: Int32? { alarm.descriptor }
  var period: Int32? { 1000 }

  func applied() {
    guard sock.hasWork else { return settle() }
    let now = MonotonicTime.now()
    if now < pausesUntil {
      sock.postpone()
      alarm.set(microseconds: pausesUntil.microseconds(since: now))
    } else {
      search(now)
    }
    settle()
  }

  private func search(_ start: MonotonicTime) {
    do throws(PathError) {
      try sock.reach()
    } catch {
      log.error("cannot look for the sockets of flows", metadata: ["error": "\(error)"])
    }
    let end = MonotonicTime.now()
    let pause = max(end.microseconds(since: start) * Self.idleShare, Self.shortestPause)
    pausesUntil = end.advanced(milliseconds: pause / 1000)
  }

  private func settle() {
    guard sock.needsComplement else { return }
    sock.needsComplement = false
    quietSince = nil
    need.isNeeded = true
  }

  func tend(_ table: borrowing FlowTable) {
    alarm.clear()
    let now = MonotonicTime.now()
    if sock.hasWork, now >= pausesUntil { search(now) }
    lookAtConditions()
    if sock.counts.refused != refused {
      refused = sock.counts.refused
      sock.needsComplement = true
      if !hasComplement {
        log.notice(
          "some sockets of tagged flows cannot be set; their packets leave unmarked",
          metadata: ["sockets": "\(refused)"])
      }
    }
    settle()
    if need.isNeeded { look(table, at: now) }
  }

  /// Has the complement leave once nothing has needed it for a while.
  private func look(_ table: borrowing FlowTable, at now: MonotonicTime) {
    guard hasComplement, labelsWork, !sock.hasWork, isAllReached(table) else {
      quietSince = nil
      return
    }
    guard let since = quietSince else {
      quietSince = now
      return
    }
    if now.microseconds(since: since) >= Self.patience { need.isNeeded = false }
  }

  private func isAllReached(_ table: borrowing FlowTable) -> Bool {
    if sock.marksAll || sock.counts.rehashing > 0 { return false }
    for place in 0..<table.count {
      let flow = table[place]
      guard flow.mark != nil, sock.families.contains(flow.key) else { continue }
      if flow.key.transport != .tcp || !sock.isReached(flow.key) { return false }
    }
    return true
  }

  private func lookAtConditions() {
    guard sock.families.contains(.ipv6) else { return }
    let finding = SockConditions.label(entropy)
    guard finding.isNo == labelsWork else { return }
    labelsWork = !finding.isNo
    if labelsWork { return log.info("the kernel makes labels of sockets again") }
    let meanwhile = hasComplement ? "tc marks meanwhile" : "packets leave unmarked"
    log.warning(
      "the kernel's settings are in the way of labels by sockets; \(meanwhile)",
      metadata: ["reason": "\(finding)"])
    need.isNeeded = true
  }

  /// Moves behind the programs that others have attached since, so that what they enter into the table is found at the
  /// same event.
  func moveLast() {
    do throws(BPFError) {
      try sock.attachAgain()
    } catch {
      log.warning(
        "connections that rules find are set after their first packet", metadata: ["error": "\(error)"])
    }
  }

  func standing(on interface: Interface) -> PathStanding {
    PathStanding(marks: labelsWork, words: labelsWork ? "TCP" : "TCP; the kernel's settings are in the way")
  }

  var tallies: [(event: String, count: UInt64)] { [("sockets_refused", UInt64(sock.counts.refused))] }

  /// Whether it stamps a flow's packets.
  func reaches(_ key: FlowKey) -> Bool { key.transport == .tcp && sock.isReached(key) }

  func interfacesChanged(_ selected: [Interface], gone: Set<UInt32>) {}

  /// Sockets keep their marks by themselves.
  func keepMarks() {
    do throws(PathError) { try sock.keepOwnValues() } catch {
      log.notice(
        "connections keep their marks until they close, should the daemon be killed",
        metadata: ["error": "\(error)"])
    }
  }

  func takeOver(_ table: borrowing FlowTable) throws(PathError) {
    try sock.takeOver { body in
      table.forEachFlow { flow in
        if let mark = flow.mark, flow.key.transport == .tcp { body(flow.key, mark, flow.counted) }
      }
    }
    // A predecessor would answer the sockets that call back.
    if !hasPredecessor { search(.now()) }
    settle()
  }

  func finish(successors: [any PathKeeper]) {
    do throws(PathError) {
      // What sockets had by themselves is the successor's to give back.
      if let successor = successors.lazy.compactMap({ $0 as? SockKeeper }).first {
        return try sock.handOver(to: successor.sock)
      }
      if let left = try sock.release(within: Self.releaseTime), left > 0 {
        log.info(
          "connections that send nothing at the moment keep their marks until they close",
          metadata: ["count": "\(left)"])
      }
    } catch {
      log.error("sockets keep their marks until they close", metadata: ["error": "\(error)"])
    }
  }
}
