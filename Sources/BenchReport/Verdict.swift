/// What a figure is beside its goal.
public enum Verdict: Sendable, Equatable {
  case met
  /// How far it is from the goal, as a share of the goal: 0.5 is half of it too little, or half of it too much.
  case short(Double)
  /// So many where there should be none.
  case some(Double)

  /// - Parameters:
  ///   - value: the figure's median.
  ///   - goal: what it is to reach; a value that equals it does.
  public init(_ value: Double, _ better: Figure.Better, goal: Double) {
    switch better {
    case .less where value <= goal, .more where value >= goal: self = .met
    case _ where goal == 0: self = .some(value)
    case .less: self = .short(value / goal - 1)
    case .more: self = .short(1 - value / goal)
    }
  }

  public var isMet: Bool { self == .met }
}

extension Verdict: CustomStringConvertible {
  public var description: String {
    switch self {
    case .met: "met"
    case .short(let share): "short by \(fixed(share * 100, share < 0.095 ? 1 : 0)) %"
    case .some(let value): "short: \(shown(value)), not 0"
    }
  }
}
