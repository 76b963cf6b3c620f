import Flow
import Testing

@Suite struct RegistryTests {
  let registry = Registry.embedded

  @Test func isWhole() {
    #expect(registry.modified.hasPrefix("2025-09-04"))
    #expect(registry.experiments.count == 14)
    #expect(registry.experiments.map(\.number) == Array(1...14))
    #expect(registry.experiments.reduce(0) { $0 + $1.activities.count } == 114)
  }

  @Test(arguments: [
    ("atlas", "17", 2, 17), ("ATLAS", "analysis input", 2, 17), ("3", "Analysis Input", 3, 14),
    ("600", "9", 600, 9),
  ])
  func namesAndNumbers(experiment: String, activity: String, number: Int, activityNumber: Int) throws {
    #expect(
      try registry.tag(experiment: experiment, activity: activity)
        == SciTag(experiment: number, activity: activityNumber))
  }

  @Test func sameNumberOtherMeaning() throws {
    #expect(registry.name(of: try SciTag(experiment: 3, activity: 14)) == "cms/Analysis Input")
    #expect(registry.name(of: try SciTag(experiment: 2, activity: 14)) == "atlas/Group Subscriptions")
    #expect(registry.name(of: try SciTag(experiment: 3, activity: 60)) == "cms/60")
    #expect(registry.name(of: try SciTag(experiment: 99, activity: 1)) == "99/1")
  }

  @Test func unknownNames() {
    #expect(throws: SciTagError.unknownExperiment("alas")) { try registry.experiment("alas") }
    #expect(throws: SciTagError.unknownActivity("tape", experiment: 3)) {
      try registry.activity("tape", of: 3)
    }
    #expect(throws: SciTagError.experimentOutOfRange(1024)) { try registry.experiment("1024") }
    #expect(throws: SciTagError.activityOutOfRange(64)) { try registry.activity("64", of: 3) }
  }
}
