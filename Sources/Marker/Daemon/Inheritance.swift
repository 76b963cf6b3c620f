import Flow
import Glibc
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
  /// An earlier daemon was here.
  let hadPredecessor: Bool
  private let keepsMarks: Bool
  private let records: (any FlowMemory)?
  private let flows: [FlowRecord]
  private let lastLife: MonotonicTime
  private let usage: [FlowKey: Usage]
  /// Records have to be kept again, all of them: they are elsewhere, or applications have other numbers now.
  private let isElsewhere: Bool
  /// What was kept without BPF goes once it is kept with it.
  private let leavesSets: Bool

  /// How often what may pass is tried, and after how many microseconds.
  private static let (attempts, pause): (Int, UInt32) = (5, 100_000)

  /// Reads what is there. What cannot be had for good costs what it would have given, and is told.
  ///
  /// - Parameter version: of what is kept; another one than the current is for tests.
  /// - Throws: where what is there cannot be read at the moment: a start without it would take the marks away.
  init(
    _ settings: Settings, _ applications: ApplicationNames, version: Int = BPFFolder.currentVersion,
    log: Logger
  ) throws(MemoryError) {
    keepsMarks = settings.keepsMarks
    var problems: [String] = []
    do throws(MemoryError) {
      pins = try Self.patiently { () throws(MemoryError) in try Self.folder(version) }
    } catch {
      guard !error.mayPass else { throw error }
      problems.append("\(error)")
      pins = nil
    }
    if let pins { Self.sweep(pins, log) }
    let folder = pins
    let isInSets = try Self.patiently { () throws(MemoryError) -> Bool in
      do throws(SystemError) { return try NFTMemory.isThere() } catch { throw Self.unknown(error) }
    }
    hadPredecessor = try Self.patiently { () throws(MemoryError) -> Bool in
      if isInSets { return true }
      return try Self.hasLeftMarks(folder)
    }

    var left = Left()
    var records: (any FlowMemory)?
    if keepsMarks && settings.marksPackets || hadPredecessor {
      if let pins {
        let maxFlows = settings.limits.maxFlows
        do throws(MemoryError) {
          (left, records) = try Self.patiently { () throws(MemoryError) -> (Left, any FlowMemory) in
            let map = try RecordMap(in: pins, maxFlows: maxFlows, applications)
            return (try Left(map), map)
          }
          if left.flows.isEmpty { try left.add(older: pins, applications, log) }
        } catch {
          if hadPredecessor, error.mayPass { throw error }
          problems.append("\(error)")
        }
      }
      if records == nil || isInSets {
        do throws(MemoryError) {
          let (more, sets) = try Self.patiently { () throws(MemoryError) -> (Left, NFTMemory) in
            let sets = try NFTMemory(applications)
            return (try Left(sets), sets)
          }
          left.add(more, insteadOf: records)
          records = records ?? sets
        } catch {
          if hadPredecessor, error.mayPass { throw error }
          problems.append("\(error)")
        }
      }
    }
    leavesSets = isInSets && !(records is NFTMemory)
    isElsewhere = left.isElsewhere
    // Of what was kept without one nothing is known but that it is there now. In a time namespace clocks differ.
    lastLife = left.life.nanoseconds == 0 ? .now() : min(left.life, .now())
    self.records = records
    flows = left.flows
    usage = left.flows.isEmpty ? [:] : Self.usage(pins, log)
    if keepsMarks, records == nil, settings.marksPackets {
      log.notice(
        "flows and marks end with the daemon: nothing here can keep them",
        metadata: ["reasons": "\(problems.joined(separator: "; "))"])
    } else if hadPredecessor, !problems.isEmpty {
      log.warning(
        "what an earlier daemon has left may be lost",
        metadata: ["reasons": "\(problems.joined(separator: "; "))"])
    }
  }

  /// Tries again what may pass.
  private static func patiently<T>(_ body: () throws(MemoryError) -> T) throws(MemoryError) -> T {
    for _ in 1..<attempts {
      do throws(MemoryError) { return try body() } catch {
        guard error.mayPass else { throw error }
        usleep(pause)
      }
    }
    return try body()
  }

  /// The folder for what is kept.
  ///
  /// - Throws: what may pass only where an earlier daemon has left something in there; else it can be done without.
  private static func folder(_ version: Int) throws(MemoryError) -> BPFFolder {
    do throws(SystemError) { return try BPFFolder(version: version) } catch {
      var isNeeded = false
      do throws(SystemError) { isNeeded = try BPFFolder.existing(version: version) != nil } catch {
        isNeeded = error.mayPass
      }
      throw MemoryError("\(error)", mayPass: error.mayPass && isNeeded)
    }
  }

  private static func unknown(_ error: SystemError) -> MemoryError {
    MemoryError("whether a daemon was here before cannot be told: \(error)", mayPass: error.mayPass)
  }

  /// Whether there is anything that an earlier daemon has left, but for the records in sets.
  private static func hasLeftMarks(_ pins: BPFFolder?) throws(MemoryError) -> Bool {
    do throws(SystemError) {
      if let pins, try !pins.names.isEmpty || !pins.otherVersions.isEmpty { return true }
    } catch { throw unknown(error) }
    do throws(PathError) { if try NFTPath.isLeft() { return true } } catch {
      throw MemoryError("\(error)", mayPass: true)
    }
    do throws(SystemError) { return try TCPath.hasLeftFilters(on: try Interface.all()) } catch {
      throw unknown(error)
    }
  }

  /// Removes what daemons of network namespaces have left that are gone, as far as that can be told: their interfaces
  /// went with them, and no daemon has given a sign of life for a day.
  private static func sweep(_ pins: BPFFolder, _ log: Logger) {
    do throws(SystemError) {
      for folder in try pins.others {
        guard try TCPath.isOrphaned(folder), RecordMap.isAbandoned(folder, at: .now()) else { continue }
        try BPFFolder.remove(folder)
        log.debug("removed what was left of another network namespace", metadata: ["folder": "\(folder)"])
      }
    } catch {
      log.debug("what other network namespaces have left was not looked at", metadata: ["error": "\(error)"])
    }
  }

  /// What flows have counted, by all that an earlier daemon may have marked them with.
  private static func usage(_ pins: BPFFolder?, _ log: Logger) -> [FlowKey: Usage] {
    var usage: [FlowKey: Usage] = [:]
    do throws(MemoryError) {
      try patiently { () throws(MemoryError) in
        do throws(PathError) {
          for folder in pins.map({ $0.otherVersions + [$0] }) ?? [] {
            try TCPath.left(in: folder) { usage[$0] = $1 }
          }
          try NFTPath.left { usage[$0] = $2 }
        } catch {
          throw MemoryError(error.reason, mayPass: true)
        }
      }
    } catch {
      log.warning("what flows have counted until now is not known", metadata: ["error": "\(error)"])
    }
    return usage
  }

  /// Enters the flows, which go on: nobody is told of them again.
  func enter(into table: inout FlowTable, log: Logger) {
    guard !flows.isEmpty else { return }
    var refused = 0
    for record in flows where !table.adopt(record, counted: usage[record.key], lastSeen: lastLife) {
      refused += 1
      // Else each next daemon would find it again.
      if !table.has(record.key) { memory?.drop(record.key) }
    }
    if isElsewhere { table.touchAll() }
    log.info("going on with the flows of an earlier daemon", metadata: ["flows": "\(flows.count)"])
    if refused > 0 {
      log.warning(
        "the table is full; flows of the earlier daemon are lost", metadata: ["count": "\(refused)"])
    }
  }

  /// Removes what the earlier daemon left and this one does not use. To be called once this one's marks are in place, and
  /// kept.
  func settle(_ keepers: [any PathKeeper], _ table: inout FlowTable, log: Logger) {
    let tc = keepers.lazy.compactMap { ($0 as? TCKeeper)?.tc }.first
    if leavesSets || !(pins?.otherVersions.isEmpty ?? true), let memory {
      table.remember(in: memory)
      do throws(MemoryError) {
        // What was refused once is tried again by the next call.
        try Self.patiently { () throws(MemoryError) in try memory.settle(at: .now()) }
      } catch {
        // They stay where they are for the next daemon, which compares what is the latest.
        return log.warning("cannot keep all flows for the next daemon", metadata: ["error": "\(error)"])
      }
    }
    if let pins {
      do throws(SystemError) {
        try TCPath.removeLeft(in: pins, except: tc, keepsMarks: keepsMarks)
      } catch {
        log.warning("tcx links of an earlier daemon may be left", metadata: ["error": "\(error)"])
      }
    }
    defer { removeRecords(log) }
    guard hadPredecessor else { return }
    do throws(PathError) {
      if !keepers.contains(where: { $0.path.kind == .nft }) { try NFTPath.clean() }
    } catch {
      log.debug("no nft table of an earlier daemon was removed", metadata: ["reason": "\(error)"])
    }
    do {
      let interfaces = try Interface.all()
      try TCPath.removeFilters(on: interfaces, except: tc)
      if let pins { try TCPath.removeQdiscs(of: pins, on: interfaces, except: tc) }
    } catch {
      log.warning("tc filters of an earlier daemon may be left", metadata: ["error": "\(error)"])
    }
  }

  private func removeRecords(_ log: Logger) {
    if let pins {
      do throws(SystemError) {
        // Links that are there still are those that mark.
        for folder in pins.olderVersions { try folder.removeAll(but: TCPath.isLink) }
        if !keepsMarks { try pins.removeAll() }
      } catch {
        log.warning("what an earlier daemon has kept stays", metadata: ["error": "\(error)"])
      }
    }
    if leavesSets || !keepsMarks && records is NFTMemory { forgetSets(log) }
  }

  /// The start has failed: where nothing was before, nothing stays.
  func abandon(log: Logger) {
    guard !hadPredecessor else { return }
    do throws(SystemError) { try pins?.removeAll() } catch {
      log.warning("what was made for the next daemon stays", metadata: ["error": "\(error)"])
    }
    if records is NFTMemory { forgetSets(log) }
  }

  private func forgetSets(_ log: Logger) {
    do throws(MemoryError) { try NFTMemory.clean() } catch {
      log.warning("what was kept for the next daemon stays", metadata: ["error": "\(error)"])
    }
  }
}

/// The flows that were left, and when.
private struct Left {
  var flows: [FlowRecord] = []
  var life = MonotonicTime(nanoseconds: 0)
  var isElsewhere = false

  init() {}

  init(_ memory: some FlowMemory) throws(MemoryError) {
    var flows: [FlowRecord] = []
    isElsewhere = try memory.recall { flows.append($0) }
    self.flows = flows
    life = memory.lastLife
  }

  /// Adds what older versions have left, as far as this one can read it.
  mutating func add(
    older pins: BPFFolder, _ applications: ApplicationNames, _ log: Logger
  ) throws(MemoryError) {
    for folder in pins.otherVersions.reversed() {
      let place: Logger.Metadata = ["folder": "\(folder.path)"]
      if folder.version > pins.version {
        log.warning(
          "a newer marker has left its flows, which this one cannot read; they stay there", metadata: place)
        continue
      }
      guard let read = Self.readers[folder.version] else {
        log.warning(
          "an older marker has left flows that this one cannot read; they are lost", metadata: place)
        continue
      }
      let older = try read(folder, applications)
      flows += older.flows
      life = max(life, older.life)
      isElsewhere = isElsewhere || !older.flows.isEmpty
    }
  }

  /// How what versions keep is read. A version that changes the layout leaves its predecessor's reader here.
  private static let readers: [Int: @Sendable (BPFFolder, ApplicationNames) throws(MemoryError) -> Left] = [
    1: { folder, applications throws(MemoryError) in
      guard RecordMap.isLeft(in: folder) else { return Left() }
      return try Left(RecordMap(in: folder, maxFlows: nil, applications))
    }
  ]

  /// Adds what is in sets; where there are records in a map too, the later ones are right.
  mutating func add(_ sets: Left, insteadOf map: (any FlowMemory)?) {
    guard let map else {
      self = sets
      return
    }
    // Sets know whole seconds.
    if life.nanoseconds / 1_000_000_000 > sets.life.nanoseconds / 1_000_000_000, !flows.isEmpty { return }
    for record in flows { map.drop(record.key) }
    self = sets
    isElsewhere = true
  }
}
