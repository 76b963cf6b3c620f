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
  var memory: (any FlowMemory)? { keepsMarks ? records : nil }
  private let keepsMarks: Bool
  private let records: (any FlowMemory)?
  private let flows: [FlowRecord]
  private let lastLife: MonotonicTime
  private var usage: [FlowKey: Usage] = [:]
  /// An earlier daemon was here.
  let hadPredecessor: Bool
  /// Records have to be kept again, all of them.
  private var isRenumbered = false

  /// Reads what is there. What cannot be had costs what it would have given, and is told.
  init(_ settings: Settings, _ applications: ApplicationNames, log: Logger) {
    keepsMarks = settings.keepsMarks
    var problems: [String] = []
    do throws(SystemError) { pins = try BPFFolder() } catch {
      problems.append("\(error)")
      pins = nil
    }
    if let pins { Self.sweep(pins, log) }
    let isInNFT = pins?.names.isEmpty ?? true ? NFTMemory.isThere() : false
    hadPredecessor = isInNFT || pins.map { !$0.names.isEmpty } ?? true
    var flows: [FlowRecord] = []
    var records: (any FlowMemory)?
    var lastLife = MonotonicTime(nanoseconds: 0)
    if keepsMarks && settings.marksPackets || hadPredecessor {
      if let pins {
        do throws(MemoryError) {
          let map = try RecordMap(in: pins, maxFlows: settings.limits.maxFlows, applications)
          isRenumbered = try map.recall { flows.append($0) }
          lastLife = map.lastLife
          records = map
        } catch {
          problems.append("\(error)")
        }
      }
      if records == nil || isInNFT {
        do throws(MemoryError) {
          let sets = try NFTMemory(applications)
          let isRenumbered = try sets.recall { flows.append($0) }
          lastLife = max(lastLife, sets.lastLife)
          if records == nil { records = sets } else { try NFTMemory.clean() }
          self.isRenumbered = self.isRenumbered || isRenumbered || isInNFT
        } catch {
          problems.append("\(error)")
        }
      }
    }
    // Of what was kept without one nothing is known but that it is there now.
    self.lastLife = lastLife.nanoseconds == 0 ? .now() : lastLife
    self.records = records
    self.flows = flows
    if keepsMarks, records == nil, settings.marksPackets {
      log.notice(
        "flows and marks end with the daemon: nothing here can keep them",
        metadata: ["reasons": "\(problems.joined(separator: "; "))"])
    }
    if !flows.isEmpty { readUsage(log) }
  }

  /// Removes what daemons of network namespaces have left that are gone: their interfaces went with them.
  private static func sweep(_ pins: BPFFolder, _ log: Logger) {
    for folder in pins.others where TCPath.isOrphaned(folder) {
      BPFFolder.remove(folder)
      log.debug("removed what was left of another network namespace", metadata: ["folder": "\(folder)"])
    }
  }

  private mutating func readUsage(_ log: Logger) {
    var usage: [FlowKey: Usage] = [:]
    do throws(PathError) {
      if let pins { try TCPath.left(in: pins) { usage[$0] = $1 } }
      try NFTPath.left { usage[$0] = $2 }
    } catch {
      log.warning("what flows have counted until now is not known", metadata: ["error": "\(error)"])
    }
    self.usage = usage
  }

  /// Enters the flows, which go on: nobody is told of them again.
  func enter(into table: inout FlowTable, log: Logger) {
    guard !flows.isEmpty else { return }
    var refused = 0
    for record in flows {
      if !table.adopt(record, counted: usage[record.key], lastSeen: lastLife) { refused += 1 }
    }
    if isRenumbered { table.touchAll() }
    log.info("going on with the flows of an earlier daemon", metadata: ["flows": "\(flows.count)"])
    if refused > 0 {
      log.warning(
        "the table is full; flows of the earlier daemon are lost", metadata: ["count": "\(refused)"])
    }
  }

  /// Removes what the earlier daemon left and this one does not use.
  func settle(_ keepers: [any PathKeeper], _ interfaces: [Interface], log: Logger) {
    let kinds = keepers.map(\.path.kind)
    if let pins {
      TCPath.removeLeft(in: pins, except: kinds.contains(.tc) ? interfaces.map(\.index) : [])
      if !keepsMarks { BPFFolder.remove(pins.path) }
    }
    if !keepsMarks, records is NFTMemory { forget(log) }
    guard !kinds.contains(.nft), hadPredecessor else { return }
    do throws(PathError) { try NFTPath.clean() } catch {
      log.debug("no nft table of an earlier daemon was removed", metadata: ["reason": "\(error)"])
    }
  }

  private func forget(_ log: Logger) {
    do throws(MemoryError) { try NFTMemory.clean() } catch {
      log.warning("what was kept for the next daemon stays", metadata: ["error": "\(error)"])
    }
  }
}
