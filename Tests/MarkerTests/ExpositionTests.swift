import Testing

@testable import Marker

/// The text formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and OpenMetrics 1.0.
@Suite struct ExpositionTests {
  private let counter = Metric(
    "lab_sent_bytes", .counter, unit: "bytes", by: ["name"], "A \\ in \"help\",\nand more.")

  private func text(_ format: Exposition.Format) -> String {
    var out = Exposition(format)
    out.add(counter, [(["a\\b\"c\nd"], "7")])
    out.add(.build, [(["1.2"], "1")])
    out.add(Metric("lab_none", .gauge, "None."), [])
    return out.finished()
  }

  @Test func prometheus() {
    #expect(
      text(.prometheus) == #"""
        # HELP lab_sent_bytes_total A \\ in "help",\nand more.
        # TYPE lab_sent_bytes_total counter
        lab_sent_bytes_total{name="a\\b\"c\nd"} 7
        # HELP marker_build_info The version that runs.
        # TYPE marker_build_info gauge
        marker_build_info{version="1.2"} 1

        """#)
  }

  @Test func openMetrics() {
    #expect(
      text(.openMetrics) == #"""
        # HELP lab_sent_bytes A \\ in \"help\",\nand more.
        # TYPE lab_sent_bytes counter
        # UNIT lab_sent_bytes bytes
        lab_sent_bytes_total{name="a\\b\"c\nd"} 7
        # HELP marker_build The version that runs.
        # TYPE marker_build info
        marker_build_info{version="1.2"} 1
        # EOF

        """#)
  }

  @Test(arguments: [
    ("", Exposition.Format.prometheus), ("*/*", .prometheus), ("text/plain;version=0.0.4", .prometheus),
    (
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1",
      .openMetrics
    ),
    ("text/plain, application/openmetrics-text; version=1.0.0; q=0.5", .openMetrics),
    ("application/openmetrics-text;q=0", .prometheus),
  ])
  func negotiation(accept: String, format: Exposition.Format) {
    #expect(Exposition.Format(accept: accept) == format)
  }

  @Test func everyMetricIsWellFormed() {
    #expect(Set(Metric.all.map(\.name)).count == Metric.all.count)
    for metric in Metric.all {
      #expect(metric.name.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" }, "\(metric.name)")
      #expect(metric.unit.isEmpty || metric.name.hasSuffix("_\(metric.unit)"), "\(metric.name)")
      #expect(!metric.name.hasSuffix("_total") && metric.help.hasSuffix("."), "\(metric.name)")
    }
  }
}
