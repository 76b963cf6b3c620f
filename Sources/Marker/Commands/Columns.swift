/// Lines up rows of text.
enum Columns {
  /// - Parameter rows: of the same number of cells each. Columns whose cells are numbers below the first row stand to
  ///   the right.
  static func lines(_ rows: [[String]], indent: Int = 0) -> [String] {
    guard let head = rows.first else { return [] }
    let rows = rows.map { $0.map(\.escapingControls) }
    let widths = head.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    let isNumeric = head.indices.map { column in
      rows.count > 1 && rows.dropFirst().allSatisfy { $0[column].first?.isNumber ?? false }
    }
    return rows.map { row in
      var line = String(repeating: " ", count: indent)
      for (column, cell) in row.enumerated() {
        let space = String(repeating: " ", count: widths[column] - cell.count)
        line += (isNumeric[column] ? space + cell : cell + space) + "  "
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}

/// Numbers as people read them.
enum Scaled {
  /// With thousands apart.
  static func count(_ value: Double) -> String {
    var digits = String(Int(clampingWhole: value))
    var parts: [Substring] = []
    while digits.count > 3 {
      parts.insert(digits.suffix(3), at: 0)
      digits = String(digits.dropLast(3))
    }
    return ([Substring(digits)] + parts).joined(separator: ",")
  }

  static func bytes(_ value: Double) -> String {
    scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
  }

  /// Of bytes a second.
  static func rate(_ value: Double) -> String {
    scaled(value * 8, 1000, ["b/s", "kb/s", "Mb/s", "Gb/s", "Tb/s"])
  }

  static func duration(_ seconds: Double) -> String {
    let whole = Int(clampingWhole: seconds)
    switch whole {
    case ..<10: return "\(tenths(seconds))s"
    case ..<60: return "\(whole)s"
    case ..<3600: return "\(whole / 60)m\(whole % 60)s"
    case ..<86_400: return "\(whole / 3600)h\(whole % 3600 / 60)m"
    default: return "\(whole / 86_400)d\(whole % 86_400 / 3600)h"
    }
  }

  static func tenths(_ value: Double) -> String {
    let tenths = Int(clampingWhole: value * 10)
    return "\(tenths / 10).\(tenths % 10)"
  }

  private static func scaled(_ value: Double, _ step: Double, _ units: [String]) -> String {
    var (value, place) = (value, 0)
    while value >= step, place < units.count - 1 {
      value /= step
      place += 1
    }
    let text = place == 0 || value >= 100 ? "\(Int(clampingWhole: value))" : tenths(value)
    return "\(text) \(units[place])"
  }
}

extension Int {
  /// Without a fraction; what is too large, negative or no number is taken to the nearest that there is.
  fileprivate init(clampingWhole value: Double) {
    self = value.isNaN || value < 0 ? 0 : value >= 9e18 ? .max : Int(value)
  }
}
