import Flow

/// What marks mean by a registry and a map of code points, prepared so that nothing is searched or allocated for a
/// packet.
struct MarkNames {
  let registry: Registry
  /// A bit for each registered activity of each experiment.
  private var activities = [UInt64](repeating: 0, count: SciTag.experiments.count)
  private var meanings = [CodePointMeaning?](repeating: nil, count: 64)

  init(_ registry: Registry, _ codePoints: CodePointMap) {
    self.registry = registry
    for experiment in registry.experiments {
      for activity in experiment.activities where activity.number < 64 {
        activities[Int(experiment.number)] |= 1 << UInt64(activity.number)
      }
    }
    var tags = codePoints.tags.keys.map { $0 }
    for experiment in registry.experiments {
      tags += experiment.activities.compactMap {
        try? SciTag(experiment: Int(experiment.number), activity: Int($0.number))
      }
    }
    tags += codePoints.experiments.keys.compactMap { try? SciTag(experiment: Int($0), activity: 0) }
    for tag in Set(tags) {
      guard case .codePoint(let codePoint) = codePoints.answer(for: tag) else { continue }
      let place = Int(codePoint.value)
      meanings[place] = meanings[place].map { $0.joined(tag) } ?? CodePointMeaning(tag)
    }
    // 0 is what every packet has that nobody marked.
    meanings[0] = nil
  }

  enum Standing: Sendable {
    case registered
    /// The experiment is registered, this activity of it is not.
    case activityUnknown
    case experimentUnknown
  }

  func standing(of tag: SciTag) -> Standing {
    let known = activities[Int(tag.experiment)]
    if known == 0 { return .experimentUnknown }
    return known >> UInt64(tag.activity) & 1 == 1 ? .registered : .activityUnknown
  }

  /// The tag of an option that can be of two forms: the one that is registered, else by the newest form.
  func tag(of option: CarriedOption) -> SciTag? {
    for generation in TagOption.Generation.allCases {
      if let tag = option.tag(generation), standing(of: tag) == .registered { return tag }
    }
    return option.tag
  }

  /// Every way to read an option that makes sense, the likeliest first. Nearly all data of today's form could be a
  /// label of the old one too, of a tag that nobody has.
  func readings(of option: CarriedOption) -> [(generation: TagOption.Generation, tag: SciTag)] {
    let all = option.readings
    let registered = all.filter { standing(of: $0.tag) == .registered }
    let newest = all.prefix(1).filter { standing(of: $0.tag) != .registered }
    return registered + newest
  }

  /// Nil where no tag has it by the map.
  func meaning(of codePoint: UInt8) -> CodePointMeaning? { meanings[Int(codePoint & 63)] }

  func name(of meaning: CodePointMeaning) -> String {
    guard let experiment = meaning.experiment else { return "several experiments" }
    guard let activity = meaning.activity else {
      return registry.experiments.first { $0.number == experiment }?.name ?? "\(experiment)"
    }
    return (try? SciTag(experiment: Int(experiment), activity: Int(activity))).map(registry.name)
      ?? "\(experiment)/\(activity)"
  }
}

/// What a code point stands for by a map: a tag, an experiment, or several.
struct CodePointMeaning: Hashable {
  /// Nil where it stands for several.
  private(set) var experiment: UInt16?
  private(set) var activity: UInt8?

  init(_ tag: SciTag) { (experiment, activity) = (tag.experiment, tag.activity) }

  func joined(_ tag: SciTag) -> CodePointMeaning {
    var joined = self
    if joined.experiment != tag.experiment { joined.experiment = nil }
    if joined.experiment == nil || joined.activity != tag.activity { joined.activity = nil }
    return joined
  }
}

/// The marks of one packet.
struct ReadMarks {
  /// By an option of an extension header, hop-by-hop first.
  let option: SciTag?
  /// By the flow label, which is there whether anyone meant it or not; nil where it is 0, or on IPv4.
  let label: SciTag?
  let labelStanding: MarkNames.Standing
  let codePoint: CodePointMeaning?

  init(_ packet: MarkedPacket, _ names: MarkNames) {
    option =
      packet.hopByHop.flatMap { names.tag(of: $0) } ?? packet.destinationOption.flatMap { names.tag(of: $0) }
    let label = packet.label.flatMap { $0.value == 0 ? nil : $0.sciTag }
    self.label = label
    labelStanding = label.map(names.standing) ?? .experimentUnknown
    codePoint = names.meaning(of: packet.codePoint)
  }

  /// The tag that the packet certainly means: that of an option, or of a label whose tag is registered. A label of
  /// neither may be the kernel's own, which has one for every flow.
  var tag: SciTag? { option ?? (labelStanding == .registered ? label : nil) }

  var isMarked: Bool { tag != nil || codePoint != nil }
}
