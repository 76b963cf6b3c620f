import Glibc
import Linux
import Testing

@testable import Lab
@testable import Marker

/// What the documentation says of settings is what the program does.
@Suite struct DocumentationTests {
  private let docs = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/docs"

  private func row(_ setting: Setting) -> String {
    let flag = setting.flag.map { " (`\($0)`)" } ?? ""
    return "| `\(setting.path)` | `\(setting.defaultText)` | \(setting.form) | \(setting.summary)\(flag) |"
  }

  @Test func everySettingIsInTheTable() throws {
    let text = try shell("cat \(docs)/configuration.md")
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }.map(String.init)
    #expect(rows == Setting.all.map(row), "should be:\n\(Setting.all.map(row).joined(separator: "\n"))")
  }

  @Test func everyMetricIsInTheTable() throws {
    let text = try shell("cat \(docs)/monitoring.md")
    let rows = text.split(separator: "\n").filter {
      $0.hasPrefix("| `marker_") || $0.hasPrefix("| `process_")
    }
    let wanted = Metric.all.map { metric in
      let labels = metric.labels.isEmpty ? "" : metric.labels.map { "`\($0)`" }.joined(separator: ", ")
      return "| `\(metric.sampleName)` | \(metric.kind.rawValue) | \(labels) | \(metric.help) |"
    }
    #expect(rows.map(String.init) == wanted, "should be:\n\(wanted.joined(separator: "\n"))")
  }

  /// The examples of the documentation are configurations.
  @Test(arguments: ["configuration.md", "dscp.md", "fireflies.md"]) func examples(name: String) throws {
    let parts = try shell("cat \(docs)/\(name)").split(
      separator: "```yaml\n", omittingEmptySubsequences: false)
    for part in parts.dropFirst() {
      let example = part.prefix { $0 != "`" }
      #expect(throws: Never.self, "\(example)") { try configuration(String(example)) }
    }
    if name == "configuration.md" { #expect(parts.count == 6) }
  }

  @Test func everyKeyOfFlowdGoThatActsIsInTheTable() throws {
    let text = try shell("cat \(docs)/migrating.md")
    for key in FlowdGoConfiguration.schema.keys.map(\.path) {
      let isIgnored = FlowdGoConfiguration.reasons.contains { key == $0.path || key.hasPrefix($0.path + ".") }
      let last = key.split(separator: ".").last ?? ""
      let section = key.split(separator: ".").dropLast().joined(separator: ".")
      // matchAll says nothing beside the plugin, which is in the table.
      if isIgnored || last == "matchAll" { continue }
      #expect(text.contains("\(last)`") || text.contains("`\(section)`"), "\(key)")
    }
  }
}
