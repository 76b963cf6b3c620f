import Testing

@testable import BenchReport

@Suite struct FigureTests {
  @Test func medianOfOddAndEvenCounts() {
    #expect(Samples([9, 1, 2]).median == 2)
    #expect(Samples([9, 1, 2, 4]).median == 3)
    #expect(Samples([7]).median == 7)
    #expect(Samples().median.isNaN)
    #expect(Samples([9, 1, 2]).least == 1)
    #expect(Samples([9, 1, 2]).most == 9)
  }

  @Test(
    arguments: [
      (45, .less, 45, .met), (44.9, .less, 45, .met), (54, .less, 45, .short(0.2)), (0.97, .more, 0.97, .met),
      (1.5, .more, 2, .short(0.25)), (0, .less, 0, .met), (12, .less, 0, .some(12)), (3, .more, 2, .met),
    ] as [(Double, Figure.Better, Double, Verdict)])
  func verdicts(value: Double, better: Figure.Better, goal: Double, wanted: Verdict) {
    let verdict = Verdict(value, better, goal: goal)
    if case .short(let share) = wanted, case .short(let found) = verdict {
      #expect(abs(share - found) < 1e-9)
    } else {
      #expect(verdict == wanted)
    }
  }

  @Test func theMedianIsJudged() {
    #expect(figure([1, 5, 100], goal: 5).verdict == .met)
    #expect(figure([1, 6, 6], goal: 5).verdict?.isMet == false)
    #expect(figure([1, 6, 6]).verdict == nil)
  }

  @Test func verdictsInWords() {
    #expect("\(Verdict.met)" == "met")
    #expect("\(Verdict.short(0.2))" == "short by 20 %")
    #expect("\(Verdict.short(0.004))" == "short by 0.4 %")
    #expect("\(Verdict.some(12))" == "short: 12, not 0")
  }

  @Test(
    arguments: [
      (213_456.7, 0, "213,457"), (1_234_567, 0, "1,234,567"), (999, 0, "999"), (1000.25, 1, "1,000.3"),
      (-3.14159, 2, "-3.14"),
      (0.05, 1, "0.1"), (2.999, 2, "3.00"), (0.007, 3, "0.007"), (.nan, 1, "-"),
    ] as [(Double, Int, String)])
  func numbers(value: Double, digits: Int, text: String) { #expect(fixed(value, digits) == text) }

  @Test func columns() {
    let cost = figure([3.14, 2.9, 3.4], goal: 5)
    #expect(cost.medianText == "3.14 ns")
    #expect(cost.spreadText == "2.90 to 3.40 (3)")
    #expect(cost.goalText == "<= 5")
    let ratio = figure([0.981, 1.02, 0.97], "", .more, goal: 0.97)
    #expect(ratio.medianText == "0.981")
    #expect(ratio.spreadText == "0.970 to 1.020 (3)")
    #expect(ratio.goalText == ">= 0.97")
    #expect(figure([-11.25, -2172.5, 1140.5]).spreadText == "-2,173 to 1,141 (3)")
    let count = figure([3], "", goal: 0)
    #expect(count.medianText == "3")
    #expect(count.spreadText == "once")
    #expect(count.goalText == "0")
    #expect(figure([150_000.4, 2e5], "/s", .more, goal: 150_000).goalText == ">= 150,000")
    #expect(figure([1], goal: 0.125).goalText == "<= 0.125")
    #expect(figure([1]).goalText == "")
  }
}
