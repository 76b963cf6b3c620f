import Firefly
import Flow

extension ValueType where Value == Collector {
  private static let form = "host, host:port or [IPv6 address]:port, or {host, port, format, experiments}"

  /// `host:port`, or a section of its own for what does not fit into that.
  static let collector = ValueType(form) { node throws(YAMLProblem) in
    if case .mapping = node.content { return try read(node) }
    guard let text = node.text else { throw node.expected(form) }
    do throws(CollectorError) { return try Collector(text) } catch {
      throw YAMLProblem(node.mark, "\(error)")
    }
  } write: { collector in
    guard collector.format != .syslog || !collector.experiments.isEmpty else {
      return YAMLText.scalar("\(collector)")
    }
    var entries = [("host", YAMLText.scalar(collector.host)), ("port", "\(collector.port)")]
    if collector.format != .syslog {
      entries.append(("format", YAMLText.scalar(collector.format.rawValue)))
    }
    if !collector.experiments.isEmpty {
      entries.append(("experiments", YAMLText.list(collector.experiments.map { "\($0)" })))
    }
    return YAMLText.mapping(entries)
  }

  private struct Parts {
    var host: String?
    var port = Collector.defaultPort
    var format = FireflyFormat.syslog
    var experiments: [UInt16] = []
  }

  private static let parts = Schema<Parts>(
    // flowd-go says address.
    ["host", "address"].map { key in
      .init(key) { node, parts throws(YAMLProblem) in
        guard parts.host == nil else {
          throw YAMLProblem(node.mark, "host and address are the same: name one")
        }
        parts.host = try ValueType<String>.text("a name or address").read(node)
      }
    } + [
      .init("port") { node, parts throws(YAMLProblem) in parts.port = try ValueType<UInt16>.port.read(node) },
      .init("format") { node, parts throws(YAMLProblem) in
        parts.format = try ValueType<FireflyFormat>.word().read(node)
      },
      .init("experiments") { node, parts throws(YAMLProblem) in
        parts.experiments = try ValueType<[UInt16]>.list(of: .experiment).read(node)
        guard !parts.experiments.isEmpty else {
          throw node.expected("experiments, by number or name; leave the key out for all")
        }
      },
    ])

  private static func read(_ node: YAMLNode) throws(YAMLProblem) -> Collector {
    var read = Parts()
    if let problem = parts.read(node, into: &read).problems.first { throw problem }
    guard let host = read.host else { throw YAMLProblem(node.mark, "a collector needs its host: host: NAME") }
    do throws(CollectorError) {
      return try Collector(
        host: host, port: read.port, format: read.format, experiments: read.experiments)
    } catch {
      throw YAMLProblem(node.mark, "\(error)")
    }
  }
}

extension ValueType where Value == UInt16 {
  /// By number or name.
  static let experiment = ValueType("an experiment, by number or name") { node throws(YAMLProblem) in
    guard let text = node.text else { throw node.expected("an experiment, by number or name") }
    do throws(SciTagError) { return try Registry.embedded.experiment(text) } catch {
      throw YAMLProblem(node.mark, "\(error)")
    }
  } write: {
    "\($0)"
  }
}
