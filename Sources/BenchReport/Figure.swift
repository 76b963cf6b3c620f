/// One line of the page.
public struct Figure: Sendable, Equatable {
  /// Which way a figure gets better.
  public enum Better: String, Codable, Sendable {
    case less, more
  }

  public let bench: BenchName
  /// What is measured, and how; figures of one benchmark and one heading stand together.
  public let heading: String
  /// What of it. No two figures of a benchmark have the same name.
  public let name: String
  public let samples: Samples
  /// Empty for counts and ratios.
  public let unit: String
  public let better: Better
  /// What the median is to reach, in `unit`.
  public let goal: Double?
  /// Left out of the short page.
  public let isDetail: Bool

  public init(
    _ bench: BenchName, heading: String, _ name: String, _ samples: Samples, _ unit: String, _ better: Better,
    goal: Double? = nil, isDetail: Bool = false
  ) {
    self.bench = bench
    self.heading = heading
    self.name = name
    self.samples = samples
    self.unit = unit
    self.better = better
    self.goal = goal
    self.isDetail = isDetail
  }

  /// Whether the median reaches the goal; nil where there is none.
  public var verdict: Verdict? { goal.map { Verdict(samples.median, better, goal: $0) } }
}

extension Figure: Codable {
  private enum Key: String, CodingKey {
    case bench, heading, name, unit, values, better, goal, detail
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    bench = try container.decode(BenchName.self, forKey: .bench)
    heading = try container.decode(String.self, forKey: .heading)
    name = try container.decode(String.self, forKey: .name)
    unit = try container.decode(String.self, forKey: .unit)
    samples = Samples(try container.decode([Double].self, forKey: .values))
    better = try container.decode(Better.self, forKey: .better)
    goal = try container.decodeIfPresent(Double.self, forKey: .goal)
    isDetail = try container.decodeIfPresent(Bool.self, forKey: .detail) ?? false
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(bench, forKey: .bench)
    try container.encode(heading, forKey: .heading)
    try container.encode(name, forKey: .name)
    try container.encode(unit, forKey: .unit)
    try container.encode(samples.values, forKey: .values)
    try container.encode(better, forKey: .better)
    try container.encodeIfPresent(goal, forKey: .goal)
    if isDetail { try container.encode(true, forKey: .detail) }
  }
}
