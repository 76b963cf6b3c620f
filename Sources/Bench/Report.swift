import BenchReport
import Glibc

/// Takes the figures of benchmarks as they come, and says on standard error how far it is.
final class Recorder {
  private(set) var page: Page
  private var bench = BenchName.program
  private var heading = ""

  init(_ machine: Machine) { page = Page(machine) }

  /// Runs one benchmark. What it throws is kept in the page, so that the others still have their turn.
  func run(_ bench: BenchName, _ body: (Recorder) throws -> Void) {
    self.bench = bench
    heading = ""
    do {
      try body(self)
    } catch {
      complain("\(bench.rawValue): \(error)")
      page.fail(bench, error)
    }
  }

  /// What the figures from here on are of.
  func heading(_ text: String) {
    heading = text
    complain("\(bench.rawValue): \(text)")
  }

  func figure(
    _ name: String, _ samples: Samples, _ unit: String, _ better: Figure.Better, goal: Double? = nil,
    isDetail: Bool = false
  ) throws(PageError) {
    try page.add(
      Figure(
        bench, heading: heading, name, samples, unit, better, goal: goal, isDetail: isDetail))
  }

  /// A figure that is taken once.
  func figure(
    _ name: String, _ value: some BinaryInteger, _ unit: String, _ better: Figure.Better,
    goal: Double? = nil, isDetail: Bool = false
  ) throws(PageError) {
    try figure(name, Samples([Double(value)]), unit, better, goal: goal, isDetail: isDetail)
  }
}

/// A line on standard error.
func complain(_ text: String) {
  let line = Array("marker-bench: \(text)\n".utf8)
  // Where standard error is closed there is nobody to tell.
  _ = write(STDERR_FILENO, line, line.count)
}

/// One line of what is no page of figures: what, the figure, and the goal where there is one.
func printLine(_ what: String, _ figure: String, goal: String = "") {
  let padded = what + String(repeating: " ", count: max(1, 58 - what.count))
  print("  \(padded)\(figure)\(goal.isEmpty ? "" : "  [goal \(goal)]")")
}
