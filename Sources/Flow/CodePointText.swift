extension CodePointMap {
  /// Adds the entries of a text such as `2=11,3/14=15,default=none`.
  ///
  /// Left of `=` stands an experiment, an experiment and an activity, or `default`; numbers and the registry's
  /// names both do, in quotes or not. Right of it stands a code point, 0 to 63, or `none`.
  public mutating func add(_ text: String, registry: Registry = .embedded) throws(CodePointMapError) {
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      try add(part: Self.trimmed(part), registry)
    }
  }

  /// A preset with the entries of a text.
  public init(
    _ preset: Preset = .pool2, adding text: String, registry: Registry = .embedded
  ) throws(CodePointMapError) {
    self.init(preset)
    try add(text, registry: registry)
  }

  private mutating func add(part: Substring, _ registry: Registry) throws(CodePointMapError) {
    guard let equals = part.lastIndex(of: "=") else { throw .notAPair(String(part)) }
    let name = Self.trimmed(part[..<equals])
    let value = Self.trimmed(part[part.index(after: equals)...])
    guard !name.isEmpty, !value.isEmpty else { throw .notAPair(String(part)) }
    try add(name, value, of: part, registry)
  }

  /// Adds one entry, given by the texts left and right of its `=`.
  public mutating func add(
    entry name: String, _ value: String, registry: Registry = .embedded
  ) throws(CodePointMapError) {
    try add(name[...], value[...], of: "\(name)=\(value)", registry)
  }

  /// - Parameter part: the entry, for messages.
  private mutating func add(
    _ name: Substring, _ value: Substring, of part: Substring, _ registry: Registry
  ) throws(CodePointMapError) {
    let target = try Self.target(value, of: part)
    if name.lowercased() == "default" {
      guard fallback == nil else { throw .mappedTwice(String(part)) }
      fallback = target
      return
    }
    let slash = name.firstIndex(of: "/")
    let experiment = Self.unquoted(name[..<(slash ?? name.endIndex)])
    do {
      if let slash {
        let activity = Self.unquoted(name[name.index(after: slash)...])
        let tag = try registry.tag(experiment: experiment, activity: activity)
        guard tag.namesExperiment else { throw CodePointMapError.namesNoExperiment(String(part)) }
        guard tags.updateValue(target, forKey: tag) == nil else {
          throw CodePointMapError.mappedTwice(String(part))
        }
      } else {
        let number = try registry.experiment(experiment)
        guard number > 0 else { throw CodePointMapError.namesNoExperiment(String(part)) }
        guard experiments.updateValue(target, forKey: number) == nil else {
          throw CodePointMapError.mappedTwice(String(part))
        }
      }
    } catch let error as SciTagError {
      throw .notATag(String(part), error)
    } catch let error as CodePointMapError {
      throw error
    } catch {
      throw .notAPair(String(part))
    }
  }

  private static func target(_ value: Substring, of part: Substring) throws(CodePointMapError) -> Target {
    if value.lowercased() == "none" { return .none }
    guard let codePoint = Int(value).flatMap(CodePoint.init) else {
      throw .notACodePoint(String(part), String(value))
    }
    return .codePoint(codePoint)
  }

  private static func trimmed(_ text: Substring) -> Substring {
    var text = text.drop { $0.isWhitespace }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }

  private static func unquoted(_ text: Substring) -> String {
    let text = trimmed(text)
    guard text.count >= 2, let first = text.first, first == text.last, first == "\"" || first == "'" else {
      return String(text)
    }
    return String(text.dropFirst().dropLast())
  }
}

extension CodePointMap {
  /// The entries, by numbers and in order, so that `add` of each makes the same map again.
  public var entries: [(name: String, value: String)] {
    func text(_ target: Target) -> String {
      switch target {
      case .codePoint(let codePoint): "\(codePoint.value)"
      case .none: "none"
      }
    }
    let experiments = experiments.sorted { $0.key < $1.key }.map { ("\($0.key)", text($0.value)) }
    let tags = tags.sorted { $0.key.packed < $1.key.packed }.map { ("\($0.key)", text($0.value)) }
    return experiments + tags + (fallback.map { [("default", text($0))] } ?? [])
  }
}

/// Why a text is not a code point map. Each case holds the entry that is wrong.
public enum CodePointMapError: Error, Equatable {
  case notAPair(String)
  case notATag(String, SciTagError)
  case namesNoExperiment(String)
  case notACodePoint(String, String)
  case mappedTwice(String)
}

extension CodePointMapError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notAPair(let part):
      return "\"\(part)\" is not an entry: write EXPERIMENT=DSCP, EXPERIMENT/ACTIVITY=DSCP or default=DSCP, "
        + "with commas between entries, as in 2=11,3/14=15,default=none"
    case .notATag(let part, let error):
      return "\"\(part)\": \(error)"
    case .namesNoExperiment(let part):
      return "\"\(part)\": experiment 0 names none, its flows are never marked; experiments start at 1"
    case .notACodePoint(let part, let value):
      return "\"\(part)\": \"\(value)\" is not a code point: write a number from 0 to 63, or none"
    case .mappedTwice(let part):
      return "\"\(part)\": there is an entry for this already; each may stand once"
    }
  }
}
