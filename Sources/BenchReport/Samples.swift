/// Values of one figure, one a round.
public struct Samples: Sendable, Equatable {
  public private(set) var values: [Double]

  public init(_ values: [Double] = []) { self.values = values }

  public mutating func add(_ value: Double) { values.append(value) }

  /// NaN where there is no value.
  public var median: Double {
    let sorted = values.sorted()
    guard let middle = sorted.indices.dropFirst(sorted.count / 2).first else { return .nan }
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  /// NaN where there is no value.
  public var least: Double { values.min() ?? .nan }
  /// NaN where there is no value.
  public var most: Double { values.max() ?? .nan }
}
