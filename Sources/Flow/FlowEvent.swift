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
  /// The kernel marks the flow already, by the tag and these entropy bits.
  public let entered: UInt32?

  public init(
    _ state: State, _ flow: AnnouncedFlow, _ tag: SciTag, from origin: Origin,
    application: ApplicationNames.ID = .marker, startTime: WallClockTime? = nil,
    endTime: WallClockTime? = nil, entered: UInt32? = nil
  ) {
    self.state = state
    self.flow = flow
    self.tag = tag
    self.origin = origin
    self.application = application
    self.startTime = startTime
    self.endTime = endTime
    self.entered = entered
  }
}

/// The kinds of source. Each may hold a flow once; the flow ends when its last holder has ended it.
public enum Origin: UInt8, Sendable, CaseIterable {
  case pipe, api, firefly, socketWatch, perfSONAR, command

  /// Whether anybody on the network can be its author. What is only hearsay enters flows of this host alone, and never
  /// changes or outlives what a source of this host says.
  public var isHearsay: Bool { self == .firefly }

  /// Whether a rule of this host finds its flows among the sockets: they end with their sockets, whatever else is set.
  public var isRule: Bool { self == .socketWatch || self == .perfSONAR }

  /// Whose word counts more: what is declared here over what others tell, that over a rule, and a rule over the mark-all
  /// tag.
  var rank: Int {
    switch self {
    case .pipe, .api, .command: 3
    case .firefly: 2
    case .socketWatch: 1
    case .perfSONAR: 0
    }
  }
}

/// The sources that hold a flow.
public struct Holders: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  public init(_ origin: Origin) { rawValue = 1 << origin.rawValue }

  /// The highest among them, or less than any.
  var rank: Int {
    Origin.allCases.reduce(-1) { contains(Holders($1)) ? max($0, $1.rank) : $0 }
  }

  /// Whether rules alone hold the flow.
  public var areRules: Bool { !isEmpty && isSubset(of: [Holders(.socketWatch), Holders(.perfSONAR)]) }
}
