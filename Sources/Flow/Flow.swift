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
  /// What was counted before the mark was last taken away.
  var base: Usage?

  /// All that was counted; nil until it was counted.
  public var usage: Usage? {
    guard let base else { return counted }
    return Usage(packets: base.packets + (counted?.packets ?? 0), bytes: base.bytes + (counted?.bytes ?? 0))
  }
}
