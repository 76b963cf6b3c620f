/// A moment in a flow's life that fireflies tell.
public struct Announcement: Sendable {
  public let state: FlowEvent.State
  public let key: FlowKey
  public let orientation: Orientation
  public let tag: SciTag
  /// Who started the flow.
  public let origin: Origin
  public let application: ApplicationNames.ID
  public let start: WallClockTime
  /// Set on `end`.
  public let end: WallClockTime?
  /// The flow may have a socket that could be asked for news.
  public internal(set) var mayHaveSocket = false
  /// What left this host, where it was counted. A firefly gives it as the announced source sees it.
  public var usage: Usage?
  /// What its socket had moved, of a flow that has one here.
  public var moved: SocketBytes?
  /// What of that is in the totals already; nil where the rest is not known.
  var movedInTotals: SocketBytes?
  /// What the kernel told of its connection.
  public var report: TCPReport?
  /// The change whose count this announcement waits for, and what was counted before it.
  let change: Int32?
  let base: Usage?

  public init(
    _ state: FlowEvent.State, _ key: FlowKey, _ orientation: Orientation, _ tag: SciTag,
    from origin: Origin = .pipe, application: ApplicationNames.ID = .marker, start: WallClockTime,
    end: WallClockTime? = nil,
    usage: Usage? = nil
  ) {
    self.init(
      state, key, orientation, tag, from: origin, application: application, start: start, end: end,
      usage: usage,
      change: nil, base: nil)
  }

  init(
    _ state: FlowEvent.State, _ key: FlowKey, _ orientation: Orientation, _ tag: SciTag,
    from origin: Origin, application: ApplicationNames.ID, start: WallClockTime, end: WallClockTime?,
    usage: Usage?,
    change: Int32?, base: Usage?
  ) {
    self.state = state
    self.key = key
    self.orientation = orientation
    self.tag = tag
    self.origin = origin
    self.application = application
    self.start = start
    self.end = end
    self.usage = usage
    self.change = change
    self.base = base
  }

  /// The flow in its announced order.
  public var flow: AnnouncedFlow { AnnouncedFlow(key, orientation) }
}
