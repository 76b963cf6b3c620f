import Testing

@testable import BenchReport

@Suite struct ComparisonTests {
  private func change(_ old: [Double], _ new: [Double], _ better: Figure.Better) throws -> Comparison.Change {
    let comparison = Comparison(try pageOf(figure(old, "", better)), try pageOf(figure(new, "", better)))
    return try #require(comparison.lines.first).change
  }

  @Test func whatLiesBeyondBothSpreadsIsMarked() throws {
    #expect(try change([10, 11, 12], [13, 14, 15], .less) == .worse)
    #expect(try change([10, 11, 12], [13, 14, 15], .more) == .better)
    #expect(try change([13, 14, 15], [10, 11, 12], .less) == .better)
    #expect(try change([13, 14, 15], [10, 11, 12], .more) == .worse)
  }

  @Test func whatOverlapsIsNot() throws {
    #expect(try change([10, 11, 12], [12, 14, 15], .less) == .none)
    #expect(try change([10, 11, 12], [9, 10, 10.1], .less) == .none)
  }

  /// One value has no spread to be beyond.
  @Test func singleValuesAreNot() throws {
    #expect(try change([10], [20, 21], .less) == .none)
    #expect(try change([10, 11], [20], .less) == .none)
  }

  @Test func ratios() throws {
    let comparison = Comparison(
      try pageOf(figure([10]), figure("b", [0])), try pageOf(figure([5]), figure("b", [3])))
    #expect(comparison.lines.map(\.ratio) == [0.5, nil])
  }

  @Test func goalsMissedAreSaid() throws {
    let (small, large) = (try pageOf(figure([4], goal: 5)), try pageOf(figure([6], goal: 5)))
    #expect(Comparison(small, large).lines.map(\.goalChange) == ["goal missed now"])
    #expect(Comparison(large, small).lines.map(\.goalChange) == ["goal met now"])
    #expect(Comparison(large, large).lines.map(\.goalChange) == [""])
  }

  /// Where the goal itself was changed, that is no change of the figure.
  @Test func theNewGoalJudgesBoth() throws {
    let comparison = Comparison(try pageOf(figure([6], goal: 10)), try pageOf(figure([6], goal: 5)))
    #expect(comparison.lines.map(\.goalChange) == [""])
  }

  @Test func figuresThatOneRunHas() throws {
    let old = try pageOf(figure([1]), figure("gone", [1]), figure("unit", [1], "ms"))
    let new = try pageOf(
      figure([1]), figure("come", [1]), figure("unit", [1], "us"), figure([1], bench: .traffic))
    let comparison = Comparison(old, new)
    #expect(comparison.lines.count == 1)
    #expect(comparison.onlyOld.map(\.name) == ["gone", "unit"])
    #expect(comparison.onlyNew.map(\.name) == ["come", "unit", "not matching"])
  }

  @Test func thePage() throws {
    let old = try pageOf(figure([10, 11, 12], goal: 12), figure("same", [1, 2]))
    let new = try pageOf(
      figure([20, 22, 24], goal: 12), figure("same", [1, 2]),
      machine: machine(processor: "B 2", commit: "def"))
    let lines = "\(Comparison(old, new))".split(separator: "\n").map {
      $0.split(separator: " ").joined(separator: " ")
    }
    #expect(lines[0] == "old: 2026-11-26T06:31:00Z, commit abc1234, load 0.25 0.50 1.00")
    #expect(lines[2] == "other processor: A 1, then B 2")
    #expect(lines[5] == "not matching 11 ns 22 ns 2.000 worse, goal missed now")
    #expect(lines[6] == "same 1.500 ns 1.500 ns 1.000")
    #expect(lines.last == "beyond both spreads: 0 better, 1 worse, of 2")
  }
}
