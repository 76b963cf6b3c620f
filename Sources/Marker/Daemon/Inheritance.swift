import Flow
import Linux
import Logging
import NFT
import XDP

/// What an earlier daemon of this network namespace has left in the kernel, and where this one leaves the same.
struct Inheritance {
  /// Nil where nothing can be pinned.
  let pins: BPFFolder?
  /// Nil where flows end with the daemon.
  var memory: RecordMap? { keepsMarks ? records : nil }
  private let keepsMarks: Bool
  private let records: RecordMap?
  private var flows: [FlowRecord] = []
  private var usage: [FlowKey: Usage] = [:]
  /// An earlier daemon was here.
  private let hadPredecessor: Bool
  /// Records have to be kept again, all of them.
  private var isRenumbered = false

  /// Reads what is there. What cannot be had costs what it would have given, and is told.
  init(_ settings: Settings, _ applications: ApplicationNames, log: Logger) {
    keepsMarks = settings.keepsMarks
    guard let pins = Self.folder(settings, log) else {
      (self.pins, records) = (nil, nil)
      // Nothing tells.
      hadPredecessor = true
      return
    }
    self.pins = pins
    hadPredecessor = !pins.names.isEmpty
    Self.sweep(pins, log)
    guard keepsMarks || hadPredecessor else {
      records = nil
      return
    }
    do throws(MemoryError) {
      let records = try RecordMap(in: pins, maxFlows: settings.limits.maxFlows, applications)
      var flows: [FlowRecord] = []
      isRenumbered = try records.recall { flows.append($0) }
      self.flows = flows
      self.records = records
    } catch {
      log.warning("flows end with the daemon", metadata: ["error": "\(error)"])
      records = nil
    }
    guard !flows.isEmpty else { return }
    readUsage(pins, log)
  }

  private static func folder(_ settings: Settings, _ log: Logger) -> BPFFolder? {
    do throws(SystemError) { return try BPFFolder() } catch {
      if settings.keepsMarks, !settings.interfaces.isEmpty {
        log.notice(
          "flows and marks end with the daemon: it cannot keep them in the BPF file system",
          metadata: ["error": "\(error)"])
      }
      return nil
    }
  }

  /// Removes what daemons of network namespaces have left that are gone: their interfaces went with them.
  private static func sweep(_ pins: BPFFolder, _ log: Logger) {
    for folder in pins.others where TCPath.isOrphaned(folder) {
      BPFFolder.remove(folder)
      log.debug("removed what was left of another network namespace", metadata: ["folder": "\(folder)"])
    }
  }

  private mutating func readUsage(_ pins: BPFFolder, _ log: Logger) {
    var usage: [FlowKey: Usage] = [:]
    do throws(PathError) {
      try TCPath.left(in: pins) { usage[$0] = $1 }
      try NFTPath.left { usage[$0] = $2 }
    } catch {
      log.warning("what flows have counted until now is not known", metadata: ["error": "\(error)"])
    }
    self.usage = usage
  }

  /// Enters the flows, which go on: nobody is told of them again.
  func enter(into table: inout FlowTable, log: Logger) {
    guard let records, !flows.isEmpty else { return }
    let lastLife = records.lastLife
    var refused = 0
    for record in flows {
      if !table.adopt(record, counted: usage[record.key], lastSeen: lastLife) { refused += 1 }
    }
    if isRenumbered { table.touchAll() }
    log.info("going on with the flows of an earlier daemon", metadata: ["flows": "\(flows.count)"])
    if refused > 0 {
      log.warning("the table is full; flows of the earlier daemon are lost", metadata: ["count": "\(refused)"])
    }
  }

  /// Removes what the earlier daemon left and this one does not use.
  func settle(_ keepers: [any PathKeeper], _ interfaces: [Interface], log: Logger) {
    let kinds = keepers.map(\.path.kind)
    if let pins {
      TCPath.removeLeft(in: pins, except: kinds.contains(.tc) ? interfaces.map(\.index) : [])
      if !keepsMarks { BPFFolder.remove(pins.path) }
    }
    guard !kinds.contains(.nft), hadPredecessor else { return }
    do throws(PathError) { try NFTPath.clean() } catch {
      log.debug("no nft table of an earlier daemon was removed", metadata: ["reason": "\(error)"])
    }
  }
}
