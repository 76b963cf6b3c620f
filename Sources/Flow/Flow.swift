/// A tagged flow, as the table holds it.
public struct Flow: Sendable {
  public internal(set) var key: FlowKey
  public internal(set) var tag: SciTag
  /// The order in which the flow was first announced; its fireflies keep it.
  public internal(set) var orientation: Orientation
  public let application: ApplicationNames.ID
  /// Who started it first.
  public let origin: Origin
  public internal(set) var holders: Holders
  /// What its packets are stamped with; nil for a flow that is announced only.
  public internal(set) var mark: Mark?
  public let start: WallClockTime
  /// When a source last spoke of it or its counters last moved.
  public internal(set) var lastSeen: MonotonicTime
  /// As the marking path that has it now last counted it; nil until it was counted.
  public internal(set) var counted: Usage?
  // The next two are small and stand where the one above leaves room: a flow has to stay small.
  private var hasMoved = false
  /// Another process held it before: what its socket had moved by then was counted there.
  var isInherited = false
  /// What dumps of this host's sockets said of it.
  var sighting = Sighting.untold
  /// What was counted before the mark was last taken away.
  var base: Usage?
  /// Bytes that left in a second, as last counted; payload bytes where only its socket counts.
  public internal(set) var rate: Float = 0
  private var lastMoved = SocketBytes(sent: 0, received: 0)

  /// What its socket had moved when it was last asked; nil for a flow without a socket here.
  public internal(set) var moved: SocketBytes? {
    get { hasMoved ? lastMoved : nil }
    set {
      hasMoved = newValue != nil
      lastMoved = newValue ?? lastMoved
    }
  }

  init(
    key: FlowKey, tag: SciTag, orientation: Orientation, application: ApplicationNames.ID, origin: Origin,
    mark: Mark?, start: WallClockTime, lastSeen: MonotonicTime
  ) {
    self.key = key
    self.tag = tag
    self.orientation = orientation
    self.application = application
    self.origin = origin
    holders = Holders(origin)
    self.mark = mark
    self.start = start
    self.lastSeen = lastSeen
  }

  /// What of its socket's bytes is in the totals; nil where that is not known before the first look.
  var movedInTotals: SocketBytes? { moved ?? (isInherited ? nil : SocketBytes(sent: 0, received: 0)) }

  /// All that was counted; nil until it was counted.
  public var usage: Usage? {
    guard let base else { return counted }
    return Usage(packets: base.packets + (counted?.packets ?? 0), bytes: base.bytes + (counted?.bytes ?? 0))
  }
}

/// Whether a flow's socket is among this host's, as far as dumps of all of them have told.
struct Sighting: Equatable, Sendable {
  /// The number of the last dump that had it, or one of the words below.
  let rawValue: UInt32

  /// No dump has begun since the flow started.
  static let untold = Sighting(rawValue: .max)
  /// A dump ended that may have begun before the flow.
  static let missedOnce = Sighting(rawValue: .max - 1)
  /// It has none: it is routed, or in a container.
  static let none = Sighting(rawValue: 0)

  /// Seen in the dump of this number, from 1 on; numbers begin again after 2^31.
  static func seen(in dump: UInt32) -> Sighting { Sighting(rawValue: dump % 0x7fff_ffff + 1) }

  /// It has one, which no dump had to find.
  static let known = seen(in: 0)

  /// Whether it was seen in the dump of this number, or in a later one.
  func isSeen(since dump: UInt32) -> Bool {
    // Numbers that go round again are far from each other.
    isSeen && rawValue &- Self.seen(in: dump).rawValue < 1 << 29
  }

  var isSeen: Bool { self != .untold && self != .missedOnce && self != .none }
}
