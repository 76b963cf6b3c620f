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
    /// Of a `mark`: the tc path has it already, entered by a program at TCP's events, and may have counted packets.
    public let isEntered: Bool
    /// Set by the path where the kernel refused this change; the others stand.
    public var failure: PathFailure?
    /// Set by the path on `unmark`: the flow's last count.
    public var usage: Usage?
    /// Which path that was.
    public var counter: PathKind?

    public init(_ action: Action, _ key: FlowKey, _ mark: Mark, isEntered: Bool = false) {
      self.isEntered = isEntered
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
