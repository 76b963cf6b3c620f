/// What a source says about a flow. The table decides what it means.
public struct FlowEvent: Sendable {
  public enum State: UInt8, Sendable {
    case start
    /// The flow goes on: a start for a flow that is not known yet, else a sign of life.
    case ongoing
    case end
  }

  public let state: State
  public let flow: AnnouncedFlow
  public let tag: SciTag
  public let origin: Origin
  /// Who runs the flow, for fireflies.
  public let application: ApplicationNames.ID
  /// When the flow started, where the source knows better than "now".
  public let startTime: WallClockTime?
  /// When the flow ended, where the source knows better than "now".
  public let endTime: WallClockTime?

  public init(
    _ state: State, _ flow: AnnouncedFlow, _ tag: SciTag, from origin: Origin,
    application: ApplicationNames.ID = .marker, startTime: WallClockTime? = nil,
    endTime: WallClockTime? = nil
  ) {
    self.state = state
    self.flow = flow
    self.tag = tag
    self.origin = origin
    self.application = application
    self.startTime = startTime
    self.endTime = endTime
  }
}

/// The kinds of source. Each may hold a flow once; the flow ends when its last holder has ended it.
public enum Origin: UInt8, Sendable, CaseIterable {
  case pipe, api, firefly, socketWatch, perfSONAR, command

  /// Whether anybody on the network can be its author. What is only hearsay enters flows of this host alone, and never
  /// changes or outlives what a source of this host says.
  public var isHearsay: Bool { self == .firefly }
}

/// The sources that hold a flow.
public struct Holders: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  public init(_ origin: Origin) { rawValue = 1 << origin.rawValue }
}
