/// Figures of one kind from several rounds.
struct Figures {
  private(set) var values: [Double] = []

  mutating func add(_ value: Double) { values.append(value) }

  var median: Double {
    let sorted = values.sorted()
    guard let middle = sorted.indices.dropFirst(sorted.count / 2).first else { return .nan }
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  /// Median, and the least and the most.
  func text(_ unit: String, digits: Int = 1) -> String {
    let least = values.min() ?? .nan
    let most = values.max() ?? .nan
    return
      "\(fixed(median, digits)) \(unit)  (\(fixed(least, digits)) to \(fixed(most, digits)), \(values.count) rounds)"
  }
}

func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite else { return "-" }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let rounded = (value * scale).rounded()
  let whole = Int(rounded.magnitude / scale)
  let sign = rounded < 0 ? "-" : ""
  guard digits > 0 else { return "\(sign)\(whole)" }
  let part = String(Int(rounded.magnitude) - whole * Int(scale))
  return "\(sign)\(whole).\(String(repeating: "0", count: digits - part.count))\(part)"
}

/// One line of the page: what, the figure, and the goal where there is one.
func report(_ what: String, _ figure: String, goal: String = "") {
  let padded = what + String(repeating: " ", count: max(1, 58 - what.count))
  print("  \(padded)\(figure)\(goal.isEmpty ? "" : "  [goal \(goal)]")")
}
