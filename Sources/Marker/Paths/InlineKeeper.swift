import Flow
import Linux
import Logging
import Synchronization
import XDP

/// Keeps the packet thread between its two ports while these come and go.
final class InlineKeeper: PathKeeper {
  private let inline: InlinePath
  private let settings: InlineSettings
  private let monitor: NetworkMonitor
  private let log: Logger
  /// What was told of last, so that it is told of once.
  private var complaint = ""
  private var toldOfLoss: UInt64 = 0

  /// Takes the packets over.
  ///
  /// - Parameter kind: `.xdp` or `.raw`.
  init(_ settings: InlineSettings, _ kind: PathKind, maxFlows: Int, hook: TCHook?, log: Logger) throws {
    self.settings = settings
    self.log = log
    // Before the first look, so that nothing happens unseen between the two.
    monitor = try NetworkMonitor(watchesStations: true)
    inline = InlinePath(kind, maxFlows: maxFlows, hook: hook)
    try open()
  }

  /// The engines that there are, the better for the two ports first: AF_XDP for cards whose drivers run its programs,
  /// packet sockets for all else, where it would cost the sender its offloads.
  static func engines(_ settings: InlineSettings) -> [PathKind] {
    let details = (try? InterfaceDetails.all()) ?? []
    let ports = details.filter { [settings.inside, settings.outside].contains($0.interface.name) }
    return ports.allSatisfy(\.suitsXDP) && ports.count == 2 ? [.xdp, .raw] : [.raw, .xdp]
  }

  var path: any MarkingPath { inline }
  var descriptor: Int32? { monitor.descriptor }
  /// The thread may have lost its devices, and counts what it loses.
  var period: Int32? { 1000 }

  func tend(_ table: borrowing FlowTable) {
    var changes = NetworkMonitor.Changes()
    do throws(SystemError) {
      changes = try monitor.changes()
    } catch {
      changes.links = true
      complain("cannot look at the network interfaces", "\(error)")
    }
    let wasOpen = inline.pair
    do throws(InlineError) {
      try inline.follow(changes)
      let fault = inline.fault
      // What bridges and neighbours learn changes all the time, and no port with it.
      guard changes.links || changes.addresses || fault != nil || wasOpen == nil else { return reportLoss() }
      let pair = try find()
      if let fault { complain("packets are not taken over any more; it is tried again", fault) }
      guard fault != nil || pair != wasOpen else { return reportLoss() }
      try inline.open(pair)
      tell()
      complaint = ""
      do throws(PathError) {
        try takeOver(table)
      } catch {
        complain("not all flows are marked", "\(error)")
      }
    } catch {
      inline.close()
      complain("packets pass unmarked, by the bridge; it is tried again", "\(error)")
    }
  }

  func standing(on interface: Interface) -> PathStanding {
    PathStanding(marks: inline.pair != nil, words: inline.pair == nil ? complaint : inline.words)
  }

  var tallies: [(event: String, count: UInt64)] {
    inline.updateCounters()
    let counters = inline.counters
    return [
      ("frames_received", counters.received.load(ordering: .relaxed)),
      ("frames_sent", counters.sent.load(ordering: .relaxed)),
      ("frames_overflowed", counters.overflowed.load(ordering: .relaxed)),
      ("frames_unsent", counters.unsent.load(ordering: .relaxed)),
      ("too_long", UInt64(inline.tooLongPackets)),
    ]
  }

  func interfacesChanged(_ selected: [Interface], gone: Set<UInt32>) {}

  func takeOver(_ table: borrowing FlowTable) throws(PathError) {
    try inline.takeOver { body in
      table.forEachFlow { flow in
        if let mark = flow.mark { body(flow.key, mark, flow.counted) }
      }
    }
  }

  func finish(successors: [any PathKeeper]) {
    inline.close()
    log.info("packets are with the bridge again", metadata: counts)
  }

  var marksOutlive: Bool { false }

  /// The bridge has the packets as soon as the process is gone, so no mark stays; the devices get back what they had.
  func leaveMarks(for seconds: Int) { finish(successors: []) }

  private func open() throws(InlineError) {
    try inline.open(find())
    tell()
  }

  private func find() throws(InlineError) -> InlinePair {
    try InlinePair.find(inside: settings.inside ?? "", outside: settings.outside ?? "")
  }

  private func tell() {
    log.info(
      "marking",
      metadata: [
        "inside": "\(settings.inside ?? "")", "outside": "\(settings.outside ?? "")",
        "path": "\(inline.kind.rawValue)", "by": "\(inline.words)",
      ])
  }

  private func complain(_ message: String, _ reason: String) {
    guard complaint != message + reason else { return }
    complaint = message + reason
    log.error("\(message)", metadata: ["reason": "\(reason)"])
  }

  private func reportLoss() {
    inline.updateCounters()
    let counters = inline.counters
    let lost = counters.overflowed.load(ordering: .relaxed) + counters.unsent.load(ordering: .relaxed)
    guard lost > toldOfLoss else { return }
    toldOfLoss = lost
    log.warning("packets of tagged flows were lost: more came than could leave", metadata: counts)
  }

  private var counts: Logger.Metadata {
    let counters = inline.counters
    return [
      "received": "\(counters.received.load(ordering: .relaxed))",
      "sent": "\(counters.sent.load(ordering: .relaxed))",
      "overflowed": "\(counters.overflowed.load(ordering: .relaxed))",
      "unsent": "\(counters.unsent.load(ordering: .relaxed))",
      "completedChecksums": "\(counters.completedChecksums.load(ordering: .relaxed))",
      "tooLong": "\(inline.tooLongPackets)",
    ]
  }
}
