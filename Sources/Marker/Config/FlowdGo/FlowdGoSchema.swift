import Firefly
import Flow

extension FlowdGoConfiguration {
  /// The keys of flowd-go up to 2.5, in both spellings where it had two.
  static let schema = Schema<FlowdGoConfiguration>(
    effective + ignored.keys.sorted().map { path in .init(path) { _, _ in } }, allowsEmptyKeys: true)

  private typealias Key = Schema<FlowdGoConfiguration>.Key

  private static func key<Value: Sendable>(
    _ path: String, _ place: any WritableKeyPath<FlowdGoConfiguration, Value> & Sendable,
    _ type: ValueType<Value>
  ) -> Key {
    Key(path) { node, target throws(YAMLProblem) in target[keyPath: place] = try type.read(node) }
  }

  private static let effective: [Key] =
    [
      key("plugins.namedPipe.pipePath", \.pipe, .path),
      key("plugins.api.bindAddress", \.apiAddress, .text("an IP address")),
      key("plugins.api.bindPort", \.apiPort, .port),
      key("backends.marker.targetInterfaces", \.interfaces, .list(of: .interface)),
      key("backends.marker.discoverInterfaces", \.discoversInterfaces, .bool),
      key(
        "backends.marker.markingStrategy", \.strategy,
        .word([.label, .hopByHop, .destination, .hopByHopDestination], ignoringCase: true)),
      key("backends.marker.matchAll", \.matchesAll, .bool),
      key("backends.firefly.destinationPort", \.remotePort, .port),
      key("backends.firefly.prependSyslog", \.prependsSyslog, .bool),
      key("backends.firefly.sendToCollector", \.sendsToCollector, .bool),
      key("backends.firefly.collectorAddress", \.collectorHost, .text("a name or address")),
      key("backends.firefly.collectorPort", \.collectorPort, .port),
    ]
    + ["experimentId", "experimentID"].map { key("plugins.perfsonar.\($0)", \.experiment, .experiment) }
    + ["activityId", "activityID"].map {
      key("plugins.perfsonar.\($0)", \.activity, .integer(0...63, "an activity"))
    }

  /// Sections and keys that do nothing here, and why.
  static let reasons: [(path: String, reason: String)] = [
    ("pidPath", "no file of its process number is kept; the service manager knows it"),
    ("workDir", "there is no working directory"),
    ("plugins.firefly", "this version does not listen for fireflies"),
    ("plugins.fireflyp", "this version does not listen for fireflies"),
    ("plugins.iperf3", "this version does not find flows by their ports"),
    ("plugins.namedPipe.maxReaders", "a pipe has one reader, which is fast enough"),
    ("plugins.namedPipe.buffSize", "lines are read whole, whatever their number"),
    ("backends.marker.removeQdisc", "only what marker added is removed, never others' filters"),
    ("backends.marker.programPath", "the BPF programs are built in"),
    ("backends.marker.debugMode", "there is no debugging program; use --log-level debug"),
    ("backends.marker.forceHookRemoval", "others' hooks are never removed, and need not be"),
    ("backends.firefly.enrich", "this version sends no periodic fireflies"),
    ("backends.firefly.enrichmentMode", "this version sends no periodic fireflies"),
    ("backends.firefly.stun", "addresses are announced as the flow has them"),
    ("backends.prometheus", "this version exports no metrics"),
    ("enrichers", "this version adds no TCP metrics to fireflies"),
  ]

  /// The keys of which `reasons` speaks, by the path that it has there.
  private static let ignored: [String: String] = {
    let keys: [String: [String]] = [
      "plugins.firefly": listener, "plugins.fireflyp": listener,
      "plugins.iperf3": [
        "minSourcePort", "maxSourcePort", "minDestinationPort", "maxDestinationPort", "cgroupPath",
        "programPath",
        "debugMode", "randomIDs", "activityIDs", "activityIds", "experimentIDs", "experimentIds",
      ],
      "backends.firefly.stun": ["manualMapping", "stunServers"],
      "backends.prometheus": ["log", "bindAddress", "netlinkPort", "skopsPort"],
      "enrichers": [
        "period", "netlink.protocol", "netlink.ext", "netlink.state", "skops.cgroupPath", "skops.programPath",
        "skops.debugMode", "skops.strategy",
      ],
    ]
    var ignored: [String: String] = [:]
    for (path, _) in reasons {
      guard let names = keys[path] else {
        ignored[path] = path
        continue
      }
      for name in names { ignored["\(path).\(name)"] = path }
    }
    return ignored
  }()

  private static let listener = [
    "bindAddress", "bindPort", "bufferSize", "deadline", "hasSyslogHeader", "fireflyReceivers",
  ]
}

extension ValueType where Value == UInt16 {
  /// By number or name.
  fileprivate static let experiment = ValueType("an experiment, by number or name") {
    node throws(YAMLProblem) in
    guard let text = node.text else { throw node.expected("an experiment, by number or name") }
    do throws(SciTagError) { return try Registry.embedded.experiment(text) } catch {
      throw YAMLProblem(node.mark, "\(error)")
    }
  } write: {
    "\($0)"
  }
}
