/// Spans of time as people write them: `90s`, `5m`, `1h`, `2d`, or a plain number of seconds.
enum DurationText {
  private static let units: [(letter: Character, seconds: Int64)] = [
    ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1),
  ]

  /// Nil for what is no span of time.
  static func seconds(_ text: String) -> Int64? {
    guard let last = text.last else { return nil }
    let unit = units.first { $0.letter == last }
    let digits = unit == nil ? text[...] : text.dropLast()
    guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int64(digits) else {
      return nil
    }
    let (seconds, overflow) = number.multipliedReportingOverflow(by: unit?.seconds ?? 1)
    return overflow ? nil : seconds
  }

  /// In the largest unit that it is a whole number of.
  static func text(seconds: Int64) -> String {
    let unit = units.first { seconds.isMultiple(of: $0.seconds) && seconds > 0 } ?? ("s", 1)
    return "\(seconds / unit.seconds)\(unit.letter)"
  }
}

extension ValueType where Value == Int64 {
  /// Microseconds, from a second on.
  static func duration(upTo limit: Int64) -> ValueType {
    let form = "a time such as 90s, 5m, 1h or 1d, from 1s to \(DurationText.text(seconds: limit))"
    return ValueType(form) { node throws(YAMLProblem) in
      guard let seconds = node.text.flatMap(DurationText.seconds), (1...limit).contains(seconds) else {
        throw node.expected(form)
      }
      return seconds * 1_000_000
    } write: {
      DurationText.text(seconds: $0 / 1_000_000)
    }
  }
}
