/// Writes metrics as text: Prometheus' exposition format 0.0.4, or OpenMetrics 1.0.
struct Exposition {
  enum Format: Sendable {
    case prometheus, openMetrics

    /// What a client would rather have; Prometheus' own format where it does not say.
    init(accept: String) {
      let wantsOpenMetrics = accept.split(separator: ",").contains { range in
        let parts = range.split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
        let isRefused = parts.contains {
          $0.hasPrefix("q=0") && !$0.contains(where: { "123456789".contains($0) })
        }
        return parts.first == "application/openmetrics-text" && !isRefused
      }
      self = wantsOpenMetrics ? .openMetrics : .prometheus
    }

    var contentType: String {
      switch self {
      case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
      case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
      }
    }
  }

  let format: Format
  private(set) var text = ""

  init(_ format: Format) { self.format = format }

  /// Writes a family and its samples; nothing where it has none.
  ///
  /// - Parameter samples: label values in the order of the metric's labels, and the value.
  mutating func add(_ metric: Metric, _ samples: [(labels: [String], value: String)]) {
    guard !samples.isEmpty else { return }
    // OpenMetrics names the family, the older format the samples.
    let name = format == .openMetrics ? metric.name : metric.sampleName
    let type = format == .prometheus && metric.kind == .info ? "gauge" : metric.kind.rawValue
    text += "# HELP \(name) \(escaped(metric.help))\n# TYPE \(name) \(type)\n"
    if format == .openMetrics, !metric.unit.isEmpty { text += "# UNIT \(name) \(metric.unit)\n" }
    for sample in samples {
      text += metric.sampleName
      if !metric.labels.isEmpty {
        let pairs = zip(metric.labels, sample.labels).map { "\($0)=\"\(Self.escapedLabel($1))\"" }
        text += "{\(pairs.joined(separator: ","))}"
      }
      text += " \(sample.value)\n"
    }
  }

  mutating func add(_ metric: Metric, _ value: some BinaryInteger) { add(metric, [([], "\(value)")]) }
  mutating func add(_ metric: Metric, _ value: Double) { add(metric, [([], "\(value)")]) }

  /// The whole text with its end.
  consuming func finished() -> String { format == .openMetrics ? text + "# EOF\n" : text }

  private func escaped(_ help: String) -> String {
    let lines = help.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
    return format == .openMetrics ? lines.replacing("\"", with: "\\\"") : lines
  }

  /// The same in both formats.
  static func escapedLabel(_ value: String) -> String {
    guard value.utf8.contains(where: { $0 == 0x5c || $0 == 0x22 || $0 == 0x0a }) else { return value }
    return value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}
