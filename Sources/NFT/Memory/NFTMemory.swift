public import Flow
internal import Glibc
public import Linux

/// Keeps the records of flows in sets of nf_tables, for hosts without BPF: they outlive the process, as the marks do, and
/// go with the host's next boot.
public final class NFTMemory: FlowMemory {
  private var socket: NFTSocket
  private let table: TableName
  private let applications: ApplicationNames
  private var present: Set<FlowKey> = []
  private var changes: [FlowKey: FlowRecord?] = [:]
  private var livesSince: UInt64?
  /// The last transaction was refused, and its changes wait for the next.
  private var wasRefused = false

  public private(set) var hasLostAll = false
  public private(set) var lastLife = MonotonicTime(nanoseconds: 0)

  private static let (flows4, flows6, life) = ("flows4", "flows6", "life")

  /// Opens the sets that an earlier process has left, or makes them.
  public init(
    _ applications: ApplicationNames, table: TableName = .memory
  ) throws(MemoryError) {
    self.applications = applications
    self.table = table
    do throws(SystemError) { socket = try NFTSocket() } catch { throw Self.error(error) }
    do {
      let isThere = try socket.has(table)
      if !isThere { try make() }
    } catch {
      throw Self.error(error)
    }
  }

  /// Makes the sets, in place of all that has the table's name.
  private func make() throws(BatchError) {
    var batch = Batch(table)
    // Deleting wants a table to be there, so that one is made first.
    batch.addTable()
    batch.deleteTable()
    batch.addTable()
    let ports: [ElementType] = [.transport, .port, .port]
    batch.addSet(SetDescription(name: Self.flows4, key: [.ipv4Address, .ipv4Address] + ports))
    batch.addSet(SetDescription(name: Self.flows6, key: [.ipv6Address, .ipv6Address] + ports))
    // Its only element is the last sign of life, in seconds since the host's boot.
    batch.addSet(SetDescription(name: Self.life, key: [.mark]))
    try socket.commit(batch)
  }

  public func recall(_ body: (FlowRecord) -> Void) throws(MemoryError) -> Bool {
    do throws(SystemError) {
      try read(body)
    } catch {
      // ENOENT: a table of this name without the sets, which nobody of ours has made.
      guard error.code == ENOENT else { throw Self.error(error) }
      do throws(BatchError) { try make() } catch { throw Self.error(error) }
    }
    return false
  }

  private func read(_ body: (FlowRecord) -> Void) throws(SystemError) {
    var records: [FlowKey: FlowRecord] = [:]
    for set in [Self.flows6, Self.flows4] {
      try socket.elements(of: set, in: table) { element in
        guard let key = FlowKey(element: element.key) else { return }
        present.insert(key)
        records[key] = element.comment.flatMap { RecordText.record($0, of: key, applications.id) }
      }
    }
    try socket.elements(of: Self.life, in: table) { element in
      guard element.key.count == 4 else { return }
      let seconds = element.key.loadUnaligned(as: UInt32.self)
      livesSince = UInt64(seconds)
      lastLife = MonotonicTime(nanoseconds: UInt64(seconds) * 1_000_000_000)
    }
    for key in present where records[key] == nil { drop(key) }
    for record in records.values { body(record) }
  }

  public func makeRoom(for maxFlows: Int) {}

  public func forgetAll() throws(MemoryError) {
    do { try Self.remove(table, &socket) } catch { throw Self.error(error) }
  }

  public func keep(_ record: FlowRecord) { changes[record.key] = .some(record) }

  public func drop(_ key: FlowKey) { changes[key] = .some(nil) }

  public func settle(at now: MonotonicTime) throws(MemoryError) {
    hasLostAll = false
    var batch = Batch(table)
    var gone: [[Element]] = [[], []]
    var come: [[Element]] = [[], []]
    for (key, record) in changes {
      let family = key.isIPv4 ? 0 : 1
      // The kernel cannot change what an element says, so it is replaced.
      if present.contains(key) { gone[family].append(Element(key: key.element)) }
      if let record {
        let isOwn = record.application == .marker
        let text = RecordText.text(
          record, application: isOwn ? nil : applications.name(of: record.application))
        come[family].append(Element(key: key.element, comment: text))
      }
    }
    for (family, set) in [Self.flows4, Self.flows6].enumerated() {
      batch.delete(gone[family][...], from: set)
      batch.add(come[family][...], to: set)
    }
    let seconds = now.nanoseconds / 1_000_000_000
    if livesSince != seconds {
      if let livesSince { batch.delete([Element(key: UInt32(livesSince).bytes)], from: Self.life) }
      batch.add([Element(key: UInt32(clamping: seconds).bytes)], to: Self.life)
    }
    do throws(BatchError) {
      try socket.commit(batch)
    } catch {
      try recover(from: error)
      return
    }
    wasRefused = false
    for (key, record) in changes { if record == nil { present.remove(key) } else { present.insert(key) } }
    changes.removeAll(keepingCapacity: true)
    livesSince = seconds
  }

  /// What was refused as a whole may work with the next call, and what was kept before is still there. Where it does not,
  /// or somebody has flushed the ruleset, what is there is not what this believes: it begins again with nothing.
  private func recover(from error: BatchError) throws(MemoryError) {
    if error.code != ENOENT, !wasRefused {
      wasRefused = true
      throw Self.error(error)
    }
    do throws(BatchError) { try make() } catch { throw Self.error(error) }
    wasRefused = false
    changes.removeAll()
    present = []
    livesSince = nil
    hasLostAll = true
  }

  /// Whether an earlier process has left records.
  ///
  /// - Throws: where that cannot be told at the moment. Where there is no nf_tables to be had, there are none.
  public static func isThere(table: TableName = .memory) throws(SystemError) -> Bool {
    do throws(SystemError) {
      var socket = try NFTSocket()
      return try socket.has(table)
    } catch {
      if error.mayPass { throw error }
      return false
    }
  }

  /// Removes all records.
  ///
  /// - Returns: whether there were any.
  @discardableResult
  public static func clean(table: TableName = .memory) throws(MemoryError) -> Bool {
    do {
      var socket = try NFTSocket()
      return try remove(table, &socket)
    } catch {
      throw Self.error(error)
    }
  }

  @discardableResult
  private static func remove(_ table: TableName, _ socket: inout NFTSocket) throws(BatchError) -> Bool {
    var batch = Batch(table)
    batch.deleteTable()
    do throws(BatchError) { try socket.commit(batch) } catch {
      guard error.code == ENOENT else { throw error }
      return false
    }
    return true
  }

  private static func error(_ error: any Error) -> MemoryError {
    let mayPass =
      switch error {
      case let error as BatchError: SystemError("", code: error.code).mayPass
      case let error as SystemError: error.mayPass
      default: false
      }
    return MemoryError("some flows will not be known after a restart: \(error)", mayPass: mayPass)
  }
}
