/// What a flow belongs to: an experiment and one of its activities, as scitags.org numbers them.
///
/// On the wire of a firefly the two stand as separate numbers; packed they are `experiment << 6 | activity`.
public struct SciTag: Hashable, Sendable {
  /// The experiment's number, 0…1023. Only 1…511 fits a flow label.
  public let experiment: UInt16
  /// The activity's number, 0…63; its meaning depends on the experiment.
  public let activity: UInt8

  /// The numbers that the packed form can hold: 10 bits of experiment, 6 of activity.
  public static let experiments: ClosedRange<Int> = 0...1023
  public static let activities: ClosedRange<Int> = 0...63

  /// - Throws: `SciTagError` where a number is out of its range; nothing is ever masked into range, which
  ///   would tag the flow for another community.
  public init(experiment: Int, activity: Int) throws(SciTagError) {
    guard Self.experiments.contains(experiment) else { throw .experimentOutOfRange(experiment) }
    guard Self.activities.contains(activity) else { throw .activityOutOfRange(activity) }
    self.experiment = UInt16(experiment)
    self.activity = UInt8(activity)
  }

  /// A tag in its packed form, `experiment << 6 | activity`.
  public init(packed: UInt16) {
    experiment = packed >> 6
    activity = UInt8(packed & 0x3f)
  }

  /// `experiment << 6 | activity`.
  public var packed: UInt16 { experiment << 6 | UInt16(activity) }

  /// Whether the tag names an experiment. Some agents send 0/0 for "tagged, but with garbage": such a flow
  /// is announced and never marked.
  public var namesExperiment: Bool { experiment > 0 }
}

extension SciTag: CustomStringConvertible {
  public var description: String { "\(experiment)/\(activity)" }
}

/// Why two numbers or names are not a SciTag.
public enum SciTagError: Error, Equatable {
  case experimentOutOfRange(Int)
  case activityOutOfRange(Int)
  case unknownExperiment(String)
  case unknownActivity(String, experiment: Int)
}

extension SciTagError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .experimentOutOfRange(let number):
      if let label = FlowLabel(number), number > 0xffff {
        let tag = label.sciTag
        return "\(number) is the flow label of \(Registry.embedded.name(of: tag)) (\(tag.packed)); "
          + "did you mean experiment \(tag.experiment), activity \(tag.activity)?"
      }
      return "experiment \(number) is out of range: it is 0 to 1023"
    case .activityOutOfRange(let number):
      return "activity \(number) is out of range: it is 0 to 63"
    case .unknownExperiment(let name):
      return "no experiment is called \"\(name)\"; the registry at scitags.org lists them, a number works too"
    case .unknownActivity(let name, let experiment):
      return "experiment \(experiment) has no activity called \"\(name)\"; a number works too"
    }
  }
}
