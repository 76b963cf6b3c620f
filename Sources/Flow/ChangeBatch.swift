/// Packets and bytes of a flow that left this host.
public struct Usage: Hashable, Sendable {
  /// Packets as the wire carries them, after segmentation.
  public var packets: UInt64
  /// Bytes of these packets from the IP header on.
  public var bytes: UInt64

  public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
    self.packets = packets
    self.bytes = bytes
  }
}

/// What a batch of events changes: first the marks, which the paths carry into the kernel, then the
/// announcements, which leave as fireflies once the marks are there.
///
/// The writer keeps one batch and clears it; its buffers stay.
public struct ChangeBatch: Sendable {
  /// One mark to set or to remove. Changes of one key take effect in their order.
  public struct Change: Sendable {
    public enum Action: UInt8, Sendable {
      /// The key is marked from now on; it was not before.
      case mark
      /// The key's mark is replaced; its counters go on.
      case remark
      case unmark
    }

    public let action: Action
    public let key: FlowKey
    /// The mark to set, or the one to remove.
    public let mark: Mark
    /// Set by the path where the kernel refused this change; the others stand.
    public var failure: PathFailure?
    /// Set by the path on `unmark`: the flow's last count.
    public var usage: Usage?

    public init(_ action: Action, _ key: FlowKey, _ mark: Mark) {
      self.action = action
      self.key = key
      self.mark = mark
    }
  }

  public var changes: ContiguousArray<Change> = []
  public var announcements: ContiguousArray<Announcement> = []

  public init() {}

  public var isEmpty: Bool { changes.isEmpty && announcements.isEmpty }

  public mutating func removeAll() {
    changes.removeAll(keepingCapacity: true)
    announcements.removeAll(keepingCapacity: true)
  }

  /// Copies the counts that paths returned with `unmark` into the announcements of these flows' ends.
  public mutating func settleUsage() {
    for index in announcements.indices {
      guard let change = announcements[index].change, var usage = changes[Int(change)].usage else { continue }
      if let base = announcements[index].base {
        usage.packets += base.packets
        usage.bytes += base.bytes
      }
      announcements[index].usage = usage
    }
  }
}

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
  /// What left this host, where it was counted. A firefly gives it as the announced source sees it.
  public var usage: Usage?
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
