internal import CBPF
internal import CTable
public import Flow
internal import Glibc
public import Linux

/// Has the kernel stamp the packets of TCP sockets by itself: a BPF program sets the sockets of tagged flows when they
/// connect, or before their next packet, and nothing runs per packet.
///
/// It reaches sockets of this network namespace whose processes are in its control group. Its programs read the table
/// of a tc path. Where that path is a complement, flows go into the table by it, and it marks what this one does not
/// reach; `needsComplement` says when it has to be attached for that.
public final class SockPath: MarkingPath {
  public let kind = PathKind.sock
  public var families = AddressFamilies.all { didSet { if isAlone { table.families = families } } }

  /// Flows were marked whose packets do not leave stamped yet, or never will. Set here, cleared by whoever has seen to
  /// it.
  public var needsComplement = false

  /// Why sockets that are there cannot be found; nil where they can.
  public let noIterator: BPFError?

  /// Has the flows; attached to nothing where there is no complement.
  public let table: TCPath
  private let isAlone: Bool
  private let loaded: Loaded
  private let control: SockControl
  private let group: String
  private let pins: BPFFolder?
  private var attachment: Attached?
  private var arming: Arming?
  private var fresh: ContiguousArray<FlowKey> = []
  private var wantsArming = false

  private struct Arming: ~Copyable {
    let sockets: SocketArming
  }
  private struct Attached: ~Copyable {
    let link: SockAttachment
  }

  /// What of the kernel is not to be used: for trying how it is without.
  public struct Without: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Finding sockets that are there already, before 6.12.
    public static let iterator = Without(rawValue: 1)
    /// SO_TXREHASH for programs, before 6.1.
    public static let fixedHash = Without(rawValue: 2)
    /// Telling network namespaces apart, before 5.15.
    public static let namespaces = Without(rawValue: 4)
  }

  /// Loads the programs and attaches them.
  ///
  /// - Parameters:
  ///   - maxFlows: the most flows in the table, where there is no complement.
  ///   - group: the folder of the control group.
  ///   - complement: marks what this path does not reach. Without, changes of flows that this path can never reach are
  ///     refused.
  ///   - predecessor: a path that this one takes the place of. It goes on until it is released.
  ///   - pins: where an earlier process has left what sockets had by themselves, and where this one leaves it.
  public init(
    maxFlows: Int, group: String, complement: TCPath? = nil, following predecessor: SockPath? = nil,
    pins: BPFFolder? = nil, without: Without = []
  ) throws(BPFError) {
    self.pins = pins
    let table: TCPath
    if let complement { table = complement } else { table = try TCPath(maxFlows: maxFlows) }
    var shared = try table.sharedMaps()
    // What sockets had by themselves has to outlive the path that noted it.
    let left = predecessor == nil ? Self.left(in: pins) : Descriptor(owning: -1)
    if let predecessor { shared["own"] = try predecessor.loaded.object.map("own") }
    if left.raw >= 0 { shared["own"] = left.raw }
    let loaded = try Loaded(shared, without)
    let control = try SockControl(map: loaded.object.map("stamping"))
    control.setNamespace(loaded.namespace)
    control.setRehashes(without.contains(.fixedHash))
    for name in ["own", "stamping"] { shared[name] = try loaded.object.map(name) }
    var arming: Arming?
    var obstacle: BPFError?
    if !without.contains(.iterator) {
      do throws(BPFError) {
        arming = Arming(sockets: try SocketArming(sharing: shared))
      } catch {
        obstacle = error
      }
    }
    control.setCallsBackAlways(arming == nil)
    let link = try SockAttachment(program: loaded.object.program(loaded.program), group: group)
    self.group = group
    self.table = table
    attachment = Attached(link: link)
    self.loaded = loaded
    self.control = control
    self.arming = arming
    isAlone = complement == nil
    noIterator = obstacle
  }

  private static let ownPin = "own"

  /// The storage in sockets that an earlier process has left, of this version or the latest before; -1 where there is
  /// none, or one of another making.
  private static func left(in pins: BPFFolder?) -> Descriptor {
    for folder in pins.map({ [$0] + $0.olderVersions.reversed() }) ?? [] {
      let left = left(at: folder.pin(ownPin))
      if left.raw >= 0 { return left }
    }
    return Descriptor(owning: -1)
  }

  private static func left(at path: String) -> Descriptor {
    let fd = bpf_obj_get(path)
    guard fd >= 0 else { return Descriptor(owning: -1) }
    let map = Descriptor(owning: fd)
    var info = bpf_map_info()
    var size = UInt32(MemoryLayout<bpf_map_info>.size)
    guard bpf_obj_get_info_by_fd(map.raw, &info, &size) == 0, info.type == BPF_MAP_TYPE_SK_STORAGE.rawValue,
      info.value_size == MemoryLayout<marker_socket>.size
    else { return Descriptor(owning: -1) }
    return map
  }

  /// Has another process know what sockets had by themselves, so that it can give it back.
  public func keepOwnValues() throws(PathError) {
    guard let pins else { return }
    do throws(BPFError) {
      let own = try loaded.object.map("own")
      do throws(SystemError) { try PinnedMap.pin(own, pins.pin(Self.ownPin)) } catch { throw .map(error) }
    } catch {
      throw PathError(.sock, "what sockets had by themselves will not outlast this process: \(error)")
    }
  }

  /// The program that stamps, loaded.
  private struct Loaded: ~Copyable {
    let object: BPFObject
    let program: String
    let namespace: UInt64

    init(_ shared: [String: Int32], _ without: Without) throws(BPFError) {
      if !without.contains(.namespaces), let cookie = NetworkNamespaceCookie.own() {
        do throws(BPFError) {
          let name = "marker_sockets"
          object = try BPFObject(.stamp, program: name, shared: shared)
          (program, namespace) = (name, cookie)
          return
        } catch {
          // The helper that tells the namespace came to these programs a version after the option.
          guard case .load(let failure, _) = error, failure.code == EINVAL else { throw error }
        }
      }
      let name = "marker_all_sockets"
      object = try BPFObject(.stamp, program: name, shared: shared)
      (program, namespace) = (name, 0)
    }
  }

  /// Attaches behind all programs that are there by now; the attachment from before goes after that.
  public func attachAgain() throws(BPFError) {
    attachment = Attached(
      link: try SockAttachment(program: loaded.object.program(loaded.program), group: group))
  }

  public var counts: SockCounts { control.counts }

  public func apply(_ batch: inout ChangeBatch) {
    for index in batch.changes.indices where families.contains(batch.changes[index].key) {
      note(&batch.changes[index])
    }
    guard isAlone else { return }
    let isTaken: (ChangeBatch.Change) -> Bool = { $0.failure == nil }
    batch.withChanges(where: isTaken, table.apply)
    // The table counts nothing while its path is not attached.
    for index in batch.changes.indices { batch.changes[index].usage = nil }
  }

  /// Takes note of what has to be looked for once the table has the change.
  private func note(_ change: inout ChangeBatch.Change) {
    guard change.key.transport == .tcp, change.mark.headers == nil else {
      guard change.action != .unmark else { return }
      needsComplement = true
      if isAlone {
        change.failure = PathFailure(.sock, code: change.mark.headers == nil ? EPROTONOSUPPORT : EOPNOTSUPP)
      }
      return
    }
    if change.action == .unmark {
      wantsArming = true
    } else {
      fresh.append(change.key)
      wantsArming = true
    }
  }

  /// Whether sockets are to be looked for.
  public var hasWork: Bool { wantsArming || !fresh.isEmpty }

  /// Finds the sockets of flows that came or went since the last call, and sets them. Takes a microsecond for each
  /// socket that the host has.
  ///
  /// Afterwards `needsComplement` tells whether a flow is left whose socket was not found.
  public func reach() throws(PathError) {
    defer { postpone() }
    guard wantsArming, arming != nil else { return }
    do throws(SystemError) {
      try arming?.sockets.run()
      wantsArming = false
    } catch {
      throw PathError(.sock, "cannot look for sockets: \(error)")
    }
  }

  /// Leaves the sockets of the flows that were just marked for later; `needsComplement` tells whether that matters.
  public func postpone() {
    if arming == nil { wantsArming = false }
    if !needsComplement { needsComplement = fresh.contains { table.reach(of: $0) != .reached } }
    fresh.removeAll(keepingCapacity: true)
  }

  /// Whether a flow's socket is set, or will be before its next packet.
  public func isReached(_ key: FlowKey) -> Bool { table.reach(of: key) == .reached }

  /// Whether packets of no flow are to be marked, which is for the complement.
  public private(set) var marksAll = false

  public func markAll(_ marks: ScopeMarks?) throws(PathError) {
    let marks = marks?.of(families)
    marksAll = marks?.ipv6 ?? marks?.ipv4 != nil
    guard marksAll else { return }
    if isAlone {
      throw PathError(.sock, "cannot mark packets that belong to no flow; path auto, tc or nft can")
    }
    needsComplement = true
  }

  /// Nothing: the sockets themselves count, and sock_diag(7) tells.
  public func readUsage(_ body: (FlowKey, Usage) -> Void) throws(PathError) {}

  /// Marks flows of TCP that another path marked until now. Where there is a complement it has them already. Sockets are
  /// not looked for until `reach`, or until a predecessor hands over.
  public func takeOver(_ flows: (_ body: (FlowKey, Mark, Usage?) -> Void) -> Void) throws(PathError) {
    if isAlone {
      try table.takeOver(flows)
    }
    wantsArming = true
    needsComplement = true
  }

  /// Leaves all sockets as they are to another path that was made to follow this one.
  public func handOver(to successor: SockPath) throws(PathError) {
    attachment = nil
    // What it armed before may have called this one back.
    successor.wantsArming = true
    try successor.reach()
  }

  /// Gives all sockets back what they had by themselves, each before its next packet, and waits for those.
  ///
  /// - Parameter milliseconds: the longest wait.
  /// - Returns: sockets that had nothing to send meanwhile, which keep their marks until they close; nil where that is
  ///   not known.
  public func release(within milliseconds: Int) throws(PathError) -> Int? {
    pins?.remove(Self.ownPin)
    control.release()
    wantsArming = true
    try reach()
    for _ in 0..<milliseconds {
      if arming != nil, control.counts.armed == control.counts.called { break }
      usleep(1000)
    }
    guard arming != nil else { return nil }
    return Int(control.counts.armed) - Int(control.counts.called)
  }
}
