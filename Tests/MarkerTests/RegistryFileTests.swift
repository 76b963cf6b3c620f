import Flow
import Lab
import Testing

@testable import Marker

/// Registries as files.
@Suite struct RegistryFileTests {
  private func parse(_ text: String) throws(RegistryProblem) -> Registry {
    try RegistryFile.parse(Array(text.utf8), source: "test")
  }

  /// The file that the built-in registry is made from.
  @Test func readsWhatScitagsServes() throws {
    let path =
      "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
      + "/Fixtures/registry/scitags-api-2025-09-04.json"
    let registry = try RegistryFile.read(path)
    #expect(registry.modified == Registry.embedded.modified)
    #expect(registry.experiments == Registry.embedded.experiments)
  }

  @Test(arguments: [
    ("", "expected an object at byte 1"), ("{}", "expected one at least"),
    ("{\"experiments\":[]}", "expected one at least"),
    ("{\"experiments\":[{\"expName\":\"a\"}]}", "without expName or expId"),
    ("{\"experiments\":[{\"expName\":\"a\",\"expId\":1024}]}", "expId: expected 1 to 1023, not 1024"),
    ("{\"experiments\":[{\"expName\":\"a\",\"expId\":1},{\"expName\":\"A\",\"expId\":2}]}", "is there twice"),
    ("{\"experiments\":[{\"expName\":\"a\\u001b[2J\",\"expId\":1}]}", "without control characters"),
    (
      "{\"experiments\":[{\"expName\":\"a\",\"expId\":1,\"activities\":[{\"activityName\":\"x\",\"activityId\":64}]}]}",
      "activityId: expected 0 to 63"
    ),
    ("{\"experiments\":[{\"expName\":\"a\",\"expId\":1}],\"modified\":\"yesterday\"}", "expected a time"),
    ("{\"experiments\":[{\"expName\":\"a\",\"expId\":1}]} x", "expected the end"),
  ])
  func refusesWhatIsBroken(text: String, reason: String) {
    let problem = #expect(throws: RegistryProblem.self) { try parse(text) }
    #expect(problem?.description.contains(reason) == true, "\(problem.map { "\($0)" } ?? "")")
  }

  @Test func cutAnywhereItIsRefused() throws {
    let text =
      "{\"experiments\":[{\"expName\":\"a\",\"expId\":1,\"activities\":[{\"activityName\":\"x\",\"activityId\":4}]}],\"modified\":\"2026-01-01T00:00:00Z\"}"
    #expect(try parse(text).experiments.count == 1)
    for count in 0..<text.utf8.count {
      #expect(throws: RegistryProblem.self) { try parse(String(text.prefix(count))) }
    }
  }

  @Test func finds() {
    #expect(RegistryText.find("ANALYSIS", in: .embedded).map(\.name).contains("cms"))
    #expect(RegistryText.find("3", in: .embedded).map(\.name) == ["cms"])
    #expect(RegistryText.find("3/14", in: .embedded).flatMap(\.activities).map(\.name) == ["Analysis Input"])
    #expect(RegistryText.find("nothing is called so", in: .embedded).isEmpty)
  }
}
