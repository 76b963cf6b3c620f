public import Flow

/// What a firefly of somebody else tells.
public struct ReceivedFirefly: Equatable, Sendable {
  public let state: FlowEvent.State
  /// In the order of the firefly.
  public let flow: AnnouncedFlow
  public let tag: SciTag
  public let application: ApplicationNames.ID
  public let start: WallClockTime?
  /// Only what an end tells.
  public let end: WallClockTime?
  /// Seen from the flow's source. Nothing is known of a direction that is missing, negative or beyond 64 bits.
  public let transferred: Transferred
  /// Where the JSON stands in the datagram; what is before it is a header.
  public let json: Range<Int>

  /// Whether it is about one flow. A port 0 or an address such as `::` stands for something that its author does not
  /// know: that is telemetry, and never a wildcard for packets.
  public var namesOneFlow: Bool {
    flow.source.port > 0 && flow.destination.port > 0
      && !flow.source.address.isUnspecified && !flow.destination.address.isUnspecified
  }

  /// What the table is to know of it.
  ///
  /// - Parameter now: no time is later: another host's clock may be wrong, and a flow must not end before it started
  ///   by ours.
  public func event(at now: WallClockTime) -> FlowEvent {
    FlowEvent(
      state, flow, tag, from: .firefly, application: application, startTime: start.map { min($0, now) },
      endTime: end.map { min($0, now) })
  }
}
