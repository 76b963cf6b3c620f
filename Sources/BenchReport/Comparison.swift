/// Two runs, figure by figure.
public struct Comparison {
  /// What became of a figure.
  public enum Change: String, Sendable {
    /// All values of one run are better than all of the other's.
    case better, worse
    /// Within the spread, or without one: a figure that was taken once says nothing about how far it strays.
    case none = ""
  }

  public struct Line {
    public let old: Figure
    public let new: Figure

    /// The new median by the old; nil where that is 0.
    public var ratio: Double? {
      old.samples.median == 0 ? nil : new.samples.median / old.samples.median
    }

    public var change: Change {
      guard old.samples.values.count > 1, new.samples.values.count > 1 else { return .none }
      if new.samples.least > old.samples.most { return new.better == .more ? .better : .worse }
      if new.samples.most < old.samples.least { return new.better == .less ? .better : .worse }
      return .none
    }

    /// Where one run met the new run's goal and the other did not. The old run's own goal may have been another.
    public var goalChange: String {
      guard let goal = new.goal, let now = new.verdict?.isMet else { return "" }
      let before = Verdict(old.samples.median, new.better, goal: goal).isMet
      return before == now ? "" : now ? "goal met now" : "goal missed now"
    }
  }

  public let old: Page
  public let new: Page
  public let lines: [Line]
  /// Figures that one of the runs has, and the other has not or in another unit.
  public let onlyOld: [Figure]
  public let onlyNew: [Figure]

  public init(_ old: Page, _ new: Page) {
    self.old = old
    self.new = new
    func isSame(_ one: Figure, _ other: Figure) -> Bool {
      one.bench == other.bench && one.name == other.name && one.unit == other.unit
        && one.better == other.better
    }
    lines = new.figures.compactMap { figure in
      old.figures.first { isSame($0, figure) }.map { Line(old: $0, new: figure) }
    }
    onlyOld = old.figures.filter { figure in !new.figures.contains { isSame($0, figure) } }
    onlyNew = new.figures.filter { figure in !old.figures.contains { isSame($0, figure) } }
  }

  /// What differs between the machines, one line each.
  public var differences: [String] {
    zip(old.machine.conditions, new.machine.conditions).compactMap { old, new in
      old.value == new.value ? nil : "other \(old.name): \(old.value), then \(new.value)"
    }
  }
}

extension Comparison: CustomStringConvertible {
  /// The page for people.
  public var description: String {
    func facts(_ page: Page) -> String {
      "\(page.machine.date), commit \(page.machine.commit), load \(page.machine.loadText)"
        + (page.machine.isBusy ? ": BUSY" : "")
    }
    var text = ["old: \(facts(old))", "new: \(facts(new))"] + differences
    let width = lines.map(\.new).nameWidth
    func row(_ name: String, _ old: String, _ new: String, _ ratio: String, _ mark: String) -> String {
      (name.padded(width) + old.padded(18) + new.padded(18) + ratio.padded(10) + mark).withoutTrailingBlanks
    }
    text.append(row("", "old", "new", "new/old", ""))
    for group in lines.map(\.new).grouped {
      text.append("\(group.bench.rawValue): \(group.heading)")
      for line in lines where line.new.bench == group.bench && line.new.heading == group.heading {
        let marks = [line.change.rawValue, line.goalChange].filter { !$0.isEmpty }
        text.append(
          row(
            "  \(line.new.name)", line.old.medianText, line.new.medianText,
            line.ratio.map { fixed($0, 3) } ?? "-", marks.joined(separator: ", ")))
      }
    }
    text += onlyOld.map { "only old: \($0.bench.rawValue), \($0.name)" }
    text += onlyNew.map { "only new: \($0.bench.rawValue), \($0.name)" }
    let better = lines.count { $0.change == .better }
    let worse = lines.count { $0.change == .worse }
    text.append("beyond both spreads: \(better) better, \(worse) worse, of \(lines.count)")
    return text.joined(separator: "\n") + "\n"
  }
}
