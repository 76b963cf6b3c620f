/// A tagged flow, as the table holds it.
public struct Flow: Sendable {
  public let key: FlowKey
  public internal(set) var tag: SciTag
  /// The order in which the flow was first announced; its fireflies keep it.
  public let orientation: Orientation
  public let application: ApplicationNames.ID
  /// Who started it first.
  public let origin: Origin
  public internal(set) var holders: Holders
  /// What its packets are stamped with; nil for a flow that is announced only.
  public internal(set) var mark: Mark?
  public let start: WallClockTime
  /// When a source last spoke of it or its counters last moved.
  public internal(set) var lastSeen: MonotonicTime
  /// As the marking path last counted it; nil until it was counted.
  public internal(set) var usage: Usage?
}
