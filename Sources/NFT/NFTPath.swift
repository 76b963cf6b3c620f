public import Flow
internal import Glibc
internal import Linux

/// The nft path: marks by rules of nf_tables, in a table of our own, without BPF.
///
/// Everything it makes is in the table `inet marker`, and for a moment in its stand-in; nothing else is ever touched.
/// The table stays when the process ends, and so do the marks; `detach` removes it. Made and used in one network namespace: the one of the thread
/// that makes it.
public final class NFTPath: MarkingPath {
  /// Calls its argument with every flow that is to be marked, and with what the flow has counted so far.
  public typealias Flows = (_ body: (FlowKey, Mark, Usage?) -> Void) -> Void

  public let kind = PathKind.nft
  public var families: AddressFamilies

  /// How often the table was made again because somebody had removed it.
  public internal(set) var restorations: UInt64 = 0
  /// Set where a change found the table gone. The changes since then are carried out by `restore`.
  public internal(set) var isLost = false
  /// Packets with packet marks beyond the limit pass unmarked.
  public private(set) var packetMarksExceedLimit = false

  var socket: NFTSocket
  let table: TableName
  /// The mark words with a chain, and how many flows use each.
  var words: [UInt32: Int] = [:]
  private(set) var interfaces: [String]?
  let flowLimit: UInt32
  /// Keys the hash that gives entropy to packets without a label.
  let seed: UInt32
  private(set) var scope: ScopeMarks?
  /// The packet marks that are put back.
  private(set) var keptMarks: Set<UInt32> = [0]

  /// Makes the table with the flows: where there was one of an earlier process, no packet goes unmarked while it is
  /// replaced.
  ///
  /// - Parameters:
  ///   - interfaces: mark only packets that leave by these; nil is all.
  ///   - families: mark only flows of these.
  ///   - flowLimit: of each address family; 0 leaves it to the memory.
  ///   - seed: random.
  ///   - scope: as for `markAll`, from the beginning.
  ///   - flows: to be marked from the beginning.
  public init(
    interfaces: [String]? = nil, families: AddressFamilies = .all, flowLimit: UInt32 = 0, seed: UInt32,
    table: TableName = .marker, scope: ScopeMarks? = nil, flows: Flows = { _ in }
  ) throws(PathError) {
    try Self.check(interfaces ?? [])
    let scope = try Self.wanted(scope, families)
    do { socket = try NFTSocket() } catch { throw PathError(.nft, Self.explain(error)) }
    self.interfaces = interfaces
    self.families = families
    self.flowLimit = flowLimit
    self.seed = seed
    self.table = table
    self.scope = scope
    try install(flows)
  }

  /// The number by which the kernel knows this path's own changes; `NFTWatch` passes over them.
  public var port: UInt32 { socket.port }

  /// Makes the table again, with all flows.
  public func restore(_ flows: Flows) throws(PathError) {
    try install(flows)
    restorations += 1
    isLost = false
  }

  /// Marks packets that leave by these interfaces from now on, instead of by those before.
  ///
  /// A path that was made for all interfaces stays so.
  public func setInterfaces(_ names: [String]) throws(PathError) {
    guard let old = interfaces, old != names else { return }
    try Self.check(names)
    var batch = Batch(table)
    let (gone, come) = (old.filter { !names.contains($0) }, names.filter { !old.contains($0) })
    if !gone.isEmpty { batch.delete(gone.map(Ruleset.element(ofInterface:))[...], from: Ruleset.interfaces) }
    if !come.isEmpty { batch.add(come.map(Ruleset.element(ofInterface:))[...], to: Ruleset.interfaces) }
    interfaces = names
    // Without the table there is nothing to change: `restore` makes it with these.
    if isLost { return }
    do { try socket.commit(batch) } catch {
      guard error.code == ENOENT else { throw PathError(.nft, Self.explain(error)) }
      isLost = true
    }
  }

  private static func check(_ names: [String]) throws(PathError) {
    for name in names where name.utf8.count >= Int(IF_NAMESIZE) || name.isEmpty {
      throw PathError(.nft, "\"\(name)\" is not the name of an interface: it has 1 to 15 characters")
    }
  }

  public func markAll(_ marks: ScopeMarks?) throws(PathError) {
    let wanted = try Self.wanted(marks, families)
    guard wanted != scope else { return }
    var batch = Batch(table)
    if let scope { MarkAll.remove(scope, &batch) }
    if let wanted { MarkAll.add(wanted, seed: seed, &batch) }
    do { try socket.commit(batch) } catch { throw PathError(.nft, Self.explain(error)) }
    scope = wanted
  }

  /// The part of a scope that is this path's; nil where nothing is left of it.
  private static func wanted(
    _ marks: ScopeMarks?, _ families: AddressFamilies
  ) throws(PathError) -> ScopeMarks? {
    guard let wanted = marks?.of(families), wanted.ipv6 != nil || wanted.ipv4 != nil else { return nil }
    guard wanted.ipv6?.headers == nil else {
      throw PathError(.nft, "rules cannot insert extension headers; the tc path can")
    }
    return wanted
  }

  /// Counts are of what the kernel sends down: a packet that is segmented later counts once, and its bytes have one
  /// header.
  public func readUsage(_ body: (FlowKey, Usage) -> Void) throws(PathError) {
    for (map, family) in [(Ruleset.flows6, AddressFamilies.ipv6), (Ruleset.flows4, .ipv4)]
    where families.contains(family) {
      do {
        try socket.elements(of: map, in: table) { element in
          if let key = FlowKey(element: element.key), let usage = element.usage { body(key, usage) }
        }
      } catch {
        throw PathError(.nft, Self.explain(error))
      }
    }
  }

  /// Serves the packet marks that packets have come with since the last time. To be called about once a second:
  /// the first packets with a packet mark that was never seen before go out as they are.
  ///
  /// - Returns: how many are new.
  @discardableResult
  public func learnPacketMarks() throws(PathError) -> Int {
    var seen: Set<UInt32> = []
    var batch = Batch(table)
    do throws(SystemError) {
      try socket.elements(of: Ruleset.foreign, in: table) { element in
        if element.key.count == 4 { seen.insert(element.key.loadUnaligned(as: UInt32.self)) }
      }
    } catch {
      if error.code == ENOENT { isLost = true }
      throw PathError(.nft, Self.explain(error))
    }
    let fresh = seen.subtracting(keptMarks).sorted()
    packetMarksExceedLimit = keptMarks.count + fresh.count >= Ruleset.keptLimit
    let taken = fresh.prefix(Ruleset.keptLimit - keptMarks.count)
    for packetMark in taken { Ruleset.serve(packetMark, &batch) }
    do { try socket.commit(batch) } catch { throw PathError(.nft, Self.explain(error)) }
    keptMarks.formUnion(taken)
    return taken.count
  }

  /// Whether the table is there.
  public func isThere() throws(PathError) -> Bool {
    do { return try socket.has(table) } catch { throw PathError(.nft, Self.explain(error)) }
  }

  /// Goes and leaves the marks until then, if no other process has taken over. Kernels before 5.4 refuse that: there they
  /// stay.
  public func leaveMarks(until time: WallClockTime) throws(PathError) {
    var batch = Batch(table)
    Ruleset.end(at: UInt64(max(time.microseconds, 0)) * 1000, &batch)
    do { try socket.commit(batch) } catch { throw PathError(.nft, Self.explain(error)) }
  }

  /// Removes the table and with it every trace of this path. Afterwards the path is of no use any more.
  public func detach() throws(PathError) { try Self.remove(table, &socket) }

  /// Removes the table that an earlier process left; where there is none, nothing happens.
  ///
  /// - Returns: whether there was one.
  @discardableResult
  public static func clean(table: TableName = .marker) throws(PathError) -> Bool {
    var socket: NFTSocket
    do { socket = try NFTSocket() } catch { throw PathError(.nft, explain(error)) }
    return try remove(table, &socket)
  }

  @discardableResult
  private static func remove(_ table: TableName, _ socket: inout NFTSocket) throws(PathError) -> Bool {
    var found = false
    for table in [table, table.standIn] {
      var batch = Batch(table)
      batch.deleteTable()
      do {
        try socket.commit(batch)
        found = true
      } catch {
        guard error.code == ENOENT else { throw PathError(.nft, explain(error)) }
      }
    }
    return found
  }

  /// Whether an earlier process has left a table.
  ///
  /// - Throws: where that cannot be told at the moment. Where there is no nf_tables to be had, there is none.
  public static func isLeft(table: TableName = .marker) throws(PathError) -> Bool {
    do throws(SystemError) { return try NFTMemory.isThere(table: table) } catch {
      throw PathError(.nft, explain(error))
    }
  }

  /// Reads the flows of the table that an earlier process left: their marks and counts. None where there is no such
  /// table, or one of another making.
  public static func left(
    table: TableName = .marker, _ body: (FlowKey, Mark, Usage) -> Void
  ) throws(PathError) {
    do throws(SystemError) {
      var socket = try NFTSocket()
      for map in [Ruleset.flows6, Ruleset.flows4] {
        var flows: [FlowKey: (Mark, Usage)] = [:]
        try socket.elements(of: map, in: table) { element in
          if let key = FlowKey(element: element.key), let mark = MarkWord(rawValue: element.mark)?.mark {
            flows[key] = (mark, element.usage ?? Usage())
          }
        }
        for (key, (mark, usage)) in flows { body(key, mark, usage) }
      }
    } catch {
      guard error.code != ENOENT else { return }
      throw PathError(.nft, explain(error))
    }
  }
}
