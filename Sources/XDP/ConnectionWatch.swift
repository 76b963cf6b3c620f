internal import CBPF
internal import CTable
public import Flow
internal import Glibc
internal import Linux

/// Finds the TCP connections that rules tag as they begin: a BPF program at TCP's events (sock_ops) of a control group and
/// those below it. Where the tc path is there, the program enters them into its table, so that a connection's first
/// packets are marked.
///
/// It is made for its rules: others need another one, made before this one goes, so that no connection is missed.
public final class ConnectionWatch {
  /// A connection that the program told of.
  public struct Event: Sendable {
    public enum Kind: Sendable {
      /// A rule that asks for addresses and ports only gave it this tag.
      case tagged(SciTag)
      /// Other conditions are to be looked at.
      case ask
      /// It is over, and was never told of; what was entered of it is gone.
      case dropped
    }
    public let kind: Kind
    public let key: FlowKey
    /// The entropy bits of its entry in the tc path's table; nil where the program entered nothing.
    public let entered: UInt32?
  }

  private let loaded: Loaded
  private let rules: UnsafeMutablePointer<marker_rules>
  private let link: Descriptor
  private let ring: EventRing
  /// Whether the kernel tells connections of other network namespaces apart.
  public let knowsNamespaces: Bool

  /// Bytes of the mapped rules: whole pages.
  private static let size = (MemoryLayout<marker_rules>.size + 4095) & ~4095

  /// Attaches it.
  ///
  /// - Parameters:
  ///   - rules: the first that fits decides.
  ///   - policy: what packets are stamped with.
  ///   - path: the path to enter connections into; nil for none.
  ///   - group: the folder of the control group.
  public convenience init(
    _ rules: [SocketRule], _ policy: MarkPolicy, entering path: TCPath?, group: String
  ) throws(BPFError) {
    try self.init(
      rules, policy, entering: path, group: group, ringBytes: UInt32(MARKER_RING_BYTES),
      cookie: NetworkNamespaceCookie.own())
  }

  /// - Parameters:
  ///   - ringBytes: the size of the ring, a power of two and whole pages.
  ///   - cookie: nil takes the connections of all namespaces, as kernels do that tell no cookie.
  init(
    _ rules: [SocketRule], _ policy: MarkPolicy, entering path: TCPath?, group: String, ringBytes: UInt32,
    cookie: UInt64?
  ) throws(BPFError) {
    let folder: Descriptor
    do throws(SystemError) {
      folder = try Descriptor("open", group) { open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    } catch {
      throw .attach(error)
    }
    var shared: [String: Int32] = [:]
    if let path { shared = try path.sharedMaps() }
    let loaded = try Loaded(hasCookie: cookie != nil, ringBytes, shared)
    knowsNamespaces = loaded.program == Loaded.telling
    let memory = mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_SHARED, try loaded.object.map("rules"), 0)
    guard let memory, memory != MAP_FAILED else { throw .map(SystemError("mmap", "rules")) }
    self.rules = memory.assumingMemoryBound(to: marker_rules.self)
    do throws(BPFError) {
      ring = try EventRing(map: try loaded.object.map("events"))
    } catch {
      munmap(memory, Self.size)
      throw error
    }
    self.rules.pointee.namespace_cookie = cookie ?? 0
    let flat = RuleRows(rules) { tag, isIPv4 in
      guard let path, path.families.contains(isIPv4 ? .ipv4 : .ipv6),
        case .mark(let mark) = policy.decide(tag, isIPv4: isIPv4, entropy: 0), path.canCarry(mark)
      else { return nil }
      return mark
    }
    withUnsafeMutableBytes(of: &self.rules.pointee.row) { target in
      flat.rows.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    withUnsafeMutableBytes(of: &self.rules.pointee.tag) { target in
      flat.tags.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    self.rules.pointee.rows = UInt32(flat.rows.count)
    // Last, with everything in its place. A link tolerates others beside it, as BPF_F_ALLOW_MULTI does.
    let made = bpf_link_create(
      try loaded.object.program(loaded.program), folder.raw, BPF_CGROUP_SOCK_OPS, nil)
    guard made >= 0 else {
      munmap(memory, Self.size)
      throw .attach(SystemError("BPF_LINK_CREATE", group, code: -made))
    }
    link = Descriptor(owning: made)
    self.loaded = loaded
  }

  deinit { munmap(rules, Self.size) }

  /// Readable while events wait.
  public var descriptor: Int32 { ring.descriptor }

  /// Hands out the events that wait, of very many a part: then the descriptor stays readable.
  ///
  /// - Returns: how many there were.
  @discardableResult
  public func take(_ body: (Event) -> Void) -> Int { ring.take(body) }

  /// How many connections the program could not tell of, as the ring was full: a dump of all sockets finds those that are
  /// there still.
  public var lost: UInt64 { rules.pointee.lost }
}

/// The program that this kernel takes, and its maps.
private struct Loaded: ~Copyable {
  let object: BPFObject
  let program: String

  /// The program that passes over sockets of other network namespaces.
  static let telling = "marker_watch"
  /// The one for kernels that do not tell the namespace.
  private static let forAll = "marker_watch_all"

  init(hasCookie: Bool, _ ringBytes: UInt32, _ shared: [String: Int32]) throws(BPFError) {
    let sizes = ["events": ringBytes]
    if hasCookie,
      let object = try? BPFObject(.watch, program: Self.telling, mapSizes: sizes, shared: shared)
    {
      self.object = object
      program = Self.telling
    } else {
      // It asks for less; where it was not for that, this says why.
      object = try BPFObject(.watch, program: Self.forAll, mapSizes: sizes, shared: shared)
      program = Self.forAll
    }
  }
}

extension ConnectionWatch.Event {
  /// Nil for what this program never writes.
  init?(_ event: marker_event) {
    guard let key = event.key.flowKey else { return nil }
    self.key = key
    entered = event.entered != 0 ? event.label & UInt32(MARKER_LABEL_ENTROPY) : nil
    switch Int32(event.kind) {
    case MARKER_EVENT_TAGGED: kind = .tagged(SciTag(packed: UInt16(truncatingIfNeeded: event.packed)))
    case MARKER_EVENT_ASK: kind = .ask
    case MARKER_EVENT_DROPPED: kind = .dropped
    default: return nil
    }
  }
}
