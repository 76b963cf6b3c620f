/// What may happen to a code point on its way, for the operator to weigh.
public enum CodePointWarning: Hashable, Sendable {
  /// 8…15: precedence 1, which equipment from the days of QBSS takes for scavenger traffic.
  case precedence1(CodePoint)
  /// 48…63 by hand: routers may take the packets for their own control traffic, or police them.
  case networkControl(CodePoint)
  /// Networks that clear the precedence bits make these all one.
  case bleached([CodePoint], to: CodePoint)
}

extension CodePointWarning: CustomStringConvertible {
  public var description: String {
    switch self {
    case .precedence1(let codePoint):
      "DSCP \(codePoint.value) has precedence 1: old equipment gives it less than best effort"
    case .networkControl(let codePoint):
      "DSCP \(codePoint.value) has precedence \(codePoint.precedence), which is for network control"
    case .bleached(let codePoints, let left):
      "where precedence is cleared, DSCP \(codePoints.map { String($0.value) }.joined(separator: ", ")) "
        + (codePoints.count == 1 ? "becomes" : "all become") + " \(left.value)"
    }
  }
}

/// What a code point may stand for.
public enum CodePointMeaning: Hashable, Sendable {
  case tag(SciTag)
  /// Any activity of the experiment that has no entry of its own.
  case experiment(UInt16)
  /// Any tag without an entry.
  case anyOther
}

extension CodePointMap {
  /// The code points in use for the experiments given and for the entries made by hand, in their order.
  public func codePoints(of registry: Registry) -> [CodePoint] {
    var found: Set<CodePoint> = []
    for case .codePoint(let codePoint) in [Target](tags.values) + experiments.values + [fallback ?? .none] {
      found.insert(codePoint)
    }
    for experiment in registry.experiments where experiments[experiment.number] == nil {
      let tag = SciTag(packed: experiment.number << 6)
      if fallback == nil, case .codePoint(let codePoint) = answer(for: tag) { found.insert(codePoint) }
    }
    return found.sorted { $0.value < $1.value }
  }

  /// What the operator should know of the code points in use.
  public func warnings(_ registry: Registry = .embedded) -> [CodePointWarning] {
    let codePoints = codePoints(of: registry)
    let single = codePoints.compactMap { codePoint -> CodePointWarning? in
      if codePoint.precedence == 1 { return .precedence1(codePoint) }
      return codePoint.isNetworkControl ? .networkControl(codePoint) : nil
    }
    let bleached = (0...7).compactMap { left -> CodePointWarning? in
      let same = codePoints.filter { $0.bleached.value == left }
      guard let first = same.first, same.count > 1 || first.bleached != first else { return nil }
      return .bleached(same, to: first.bleached)
    }
    return single + bleached
  }

  /// What a code point seen in a packet may stand for: the map read backwards. Empty where the map never gives
  /// this code point. Narrow meanings come first.
  public func meanings(of codePoint: CodePoint) -> [CodePointMeaning] {
    let wanted = Target.codePoint(codePoint)
    let tags = tags.filter { $0.value == wanted }.keys.sorted { $0.packed < $1.packed }
    var experiments = experiments.filter { $0.value == wanted }.keys.sorted()
    var rest: [CodePointMeaning] = []
    if let fallback {
      if fallback == wanted { rest = [.anyOther] }
    } else {
      switch preset {
      case .none: break
      case .le: if codePoint == .lowerEffort { rest = [.anyOther] }
      case .pool2:
        let experiment = UInt16(codePoint.value >> 2)
        if codePoint.value & 0b11 == 0b11, experiment > 0, !codePoint.isNetworkControl,
          self.experiments[experiment] == nil
        {
          experiments.append(experiment)
        }
      }
    }
    return tags.map { .tag($0) } + experiments.map { .experiment($0) } + rest
  }
}
