/// The experiments and activities that SciTags knows, by number and name.
public struct Registry: Sendable {
  public struct Activity: Hashable, Sendable {
    public let number: UInt8
    public let name: String

    public init(number: UInt8, name: String) {
      self.number = number
      self.name = name
    }
  }

  public struct Experiment: Hashable, Sendable {
    public let number: UInt16
    public let name: String
    /// Numbers mean different things for different experiments.
    public let activities: [Activity]

    public init(number: UInt16, name: String, activities: [Activity]) {
      self.number = number
      self.name = name
      self.activities = activities
    }
  }

  /// When scitags.org last changed it, RFC 3339.
  public let modified: String
  public let experiments: [Experiment]

  public init(modified: String, experiments: [Experiment]) {
    self.modified = modified
    self.experiments = experiments
  }

  /// The experiment that a number or a name stands for. Names are compared without regard to case.
  ///
  /// A number need not be registered: sites use new ones before the registry has them.
  public func experiment(_ text: String) throws(SciTagError) -> UInt16 {
    if let number = Int(text) {
      guard SciTag.experiments.contains(number) else { throw .experimentOutOfRange(number) }
      return UInt16(number)
    }
    let name = text.lowercased()
    guard let found = experiments.first(where: { $0.name.lowercased() == name }) else {
      throw .unknownExperiment(text)
    }
    return found.number
  }

  /// The activity of an experiment that a number or a name stands for.
  public func activity(_ text: String, of experiment: UInt16) throws(SciTagError) -> UInt8 {
    if let number = Int(text) {
      guard SciTag.activities.contains(number) else { throw .activityOutOfRange(number) }
      return UInt8(number)
    }
    let name = text.lowercased()
    let activities = experiments.first { $0.number == experiment }?.activities ?? []
    guard let found = activities.first(where: { $0.name.lowercased() == name }) else {
      throw .unknownActivity(text, experiment: Int(experiment))
    }
    return found.number
  }

  /// The tag of two numbers or names.
  public func tag(experiment: String, activity: String) throws(SciTagError) -> SciTag {
    let experiment = try self.experiment(experiment)
    return try SciTag(
      experiment: Int(experiment), activity: Int(self.activity(activity, of: experiment)))
  }

  /// The tag as people read it, `cms/Analysis Input`; a number stands where the registry has no name.
  public func name(of tag: SciTag) -> String {
    let experiment = experiments.first { $0.number == tag.experiment }
    let activity = experiment?.activities.first { $0.number == tag.activity }
    return "\(experiment?.name ?? String(tag.experiment))/\(activity?.name ?? String(tag.activity))"
  }
}
