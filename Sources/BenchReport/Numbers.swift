/// A number with so many digits after the point, or "-" where it is not finite.
public func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite else { return "-" }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let rounded = (value * scale).rounded()
  let whole = Int(rounded.magnitude / scale)
  let sign = rounded < 0 ? "-" : ""
  guard digits > 0 else { return "\(sign)\(grouped(whole))" }
  let part = String(Int(rounded.magnitude) - whole * Int(scale))
  return "\(sign)\(grouped(whole)).\(String(repeating: "0", count: digits - part.count))\(part)"
}

/// A number as the page shows it: about three digits that count, all of a whole number's, and of a ratio three after
/// the point.
func shown(_ value: Double) -> String { fixed(value, digits(for: [value])) }

/// How many digits after the point numbers that stand together have. The first decides, unless others are so much
/// larger that its digits say nothing.
func digits(for values: [Double]) -> Int {
  if values.allSatisfy({ $0 == $0.rounded() }) { return 0 }
  let widest = values.map(\.magnitude).max() ?? 0
  switch max(values.first?.magnitude ?? 0, widest / 10) {
  case 100...: return 0
  case 10...: return 1
  case 2...: return 2
  default: return 3
  }
}

/// Digits in groups of three.
private func grouped(_ number: Int) -> String {
  var text = ""
  for (index, digit) in String(number).reversed().enumerated() {
    if index > 0, index % 3 == 0 { text.append(",") }
    text.append(digit)
  }
  return String(text.reversed())
}

extension Figure {
  private var places: Int { digits(for: [samples.median, samples.least, samples.most]) }

  var medianText: String { with(unit, fixed(samples.median, places)) }

  /// The least and the most, and how many rounds there were.
  var spreadText: String {
    guard samples.values.count > 1 else { return "once" }
    return "\(fixed(samples.least, places)) to \(fixed(samples.most, places)) (\(samples.values.count))"
  }

  var goalText: String {
    guard let goal else { return "" }
    if better == .less, goal == 0 { return "0" }
    return "\(better == .less ? "<=" : ">=") \(goalNumber(goal))"
  }

  /// A goal is said with no more digits than it has.
  private func goalNumber(_ goal: Double) -> String {
    var scaled = goal
    for places in 0..<6 {
      if abs(scaled - scaled.rounded()) < 1e-9 * max(1, scaled.magnitude) { return fixed(goal, places) }
      scaled *= 10
    }
    return fixed(goal, 6)
  }

  func with(_ unit: String, _ number: String) -> String { unit.isEmpty ? number : "\(number) \(unit)" }
}
