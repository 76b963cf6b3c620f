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
      key("plugins.iperf3.minSourcePort", \.sourcePorts.least, .portBound),
      key("plugins.iperf3.maxSourcePort", \.sourcePorts.most, .portBound),
      key("plugins.iperf3.minDestinationPort", \.destinationPorts.least, .portBound),
      key("plugins.iperf3.maxDestinationPort", \.destinationPorts.most, .portBound),
      key("plugins.iperf3.cgroupPath", \.group, .path),
      // A pair for each flow either way.
      Key("plugins.iperf3.randomIDs") { node, _ throws(YAMLProblem) in _ = try ValueType<Bool>.bool.read(node)
      },
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
      key("backends.firefly.enrich", \.enriches, .bool),
      key("backends.firefly.enrichmentMode", \.enrichment, .flowdGoMode),
      key("backends.firefly.stun.manualMapping", \.addressPairs, .publicAddresses),
      key("backends.firefly.stun.stunServers", \.stunServers, .list(of: .stunServer, atMost: 16)),
      key("backends.prometheus.bindAddress", \.metricsAddress, .bindAddress),
      key("backends.prometheus.netlinkPort", \.metricsPort, .port),
      key("enrichers.period", \.enrichmentPeriod, .integer(1...86_400_000, "milliseconds")),
    ]
    + ["firefly", "fireflyp"].flatMap { plugin in
      [
        key("plugins.\(plugin).bindAddress", \.listeningAddress, .bindAddress),
        key("plugins.\(plugin).bindPort", \.listeningPort, .port),
        key("plugins.\(plugin).fireflyReceivers", \.receivers, .list(of: .receiver)),
      ]
    }
    + ["experimentId", "experimentID"].map { key("plugins.perfsonar.\($0)", \.experiment, .experiment) }
    + ["experimentIds", "experimentIDs"].map {
      key("plugins.iperf3.\($0)", \.flowExperiments, .list(of: .experiment))
    }
    + ["activityIds", "activityIDs"].map {
      key("plugins.iperf3.\($0)", \.flowActivities, .list(of: .integer(0...63, "an activity")))
    }
    + ["activityId", "activityID"].map {
      key("plugins.perfsonar.\($0)", \.activity, .integer(0...63, "an activity"))
    }

  /// Sections and keys that do nothing here, and why.
  static let reasons: [(path: String, reason: String)] = [
    ("pidPath", "no file of its process number is kept; the service manager knows it"),
    ("workDir", "there is no working directory"),
    ("plugins.firefly.bufferSize", "a datagram is read whole, whatever its size"),
    ("plugins.firefly.deadline", "the listener waits for fireflies and for nothing else"),
    ("plugins.firefly.hasSyslogHeader", "a firefly is read with a header and without"),
    ("plugins.fireflyp.bufferSize", "a datagram is read whole, whatever its size"),
    ("plugins.fireflyp.deadline", "the listener waits for fireflies and for nothing else"),
    ("plugins.fireflyp.hasSyslogHeader", "a firefly is read with a header and without"),
    ("plugins.iperf3.programPath", "the BPF programs are built in"),
    ("plugins.iperf3.debugMode", "there is no debugging program; use --log-level debug"),
    ("plugins.namedPipe.maxReaders", "a pipe has one reader, which is fast enough"),
    ("plugins.namedPipe.buffSize", "lines are read whole, whatever their number"),
    ("backends.marker.removeQdisc", "only what marker added is removed, never others' filters"),
    ("backends.marker.programPath", "the BPF programs are built in"),
    ("backends.marker.debugMode", "there is no debugging program; use --log-level debug"),
    ("backends.marker.forceHookRemoval", "others' hooks are never removed, and need not be"),
    ("backends.prometheus.log", "what goes wrong is logged in any case"),
    ("backends.prometheus.skopsPort", "one port, netlinkPort, has all metrics"),
    ("enrichers.netlink", "every TCP socket is asked for, with all that the kernel tells"),
    ("enrichers.skops.cgroupPath", "what skOps tells of a connection is asked of the kernel by netlink"),
    ("enrichers.skops.programPath", "what skOps tells of a connection is asked of the kernel by netlink"),
    ("enrichers.skops.debugMode", "what skOps tells of a connection is asked of the kernel by netlink"),
    ("enrichers.skops.strategy", "what skOps tells of a connection is asked of the kernel by netlink"),
  ]

  /// The keys of which `reasons` speaks, by the path that it has there.
  private static let ignored: [String: String] = {
    let keys: [String: [String]] = [
      "enrichers.netlink": ["protocol", "ext", "state"]
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
}

extension ValueType where Value == UInt16 {
  fileprivate static let portBound = integer(0...65535, "a port, or 0 for no bound,")
}

extension ValueType where Value == Address {
  /// Go's nothing stands for all addresses.
  fileprivate static let bindAddress = ValueType("an address of this host") { node throws(YAMLProblem) in
    guard case .scalar(let text, _) = node.content else { throw node.expected("an address of this host") }
    switch text {
    case "": return .unspecified
    case "localhost": return Address(ipv4: 0x7f00_0001)
    default:
      guard let address = Address(text) else { throw node.expected("an address of this host") }
      return address
    }
  } write: {
    YAMLText.scalar("\($0)")
  }
}

extension ValueType where Value == Collector {
  private struct Parts {
    var host: String?
    var port = Collector.defaultPort
  }

  private static let parts = Schema<Parts>([
    .init("address") { node, parts throws(YAMLProblem) in
      parts.host = try ValueType<String>.text("a name or address").read(node)
    },
    .init("port") { node, parts throws(YAMLProblem) in parts.port = try ValueType<UInt16>.port.read(node) },
  ])

  /// An entry of fireflyReceivers.
  fileprivate static let receiver = ValueType("a section with address and port") { node throws(YAMLProblem) in
    var read = Parts()
    if let problem = parts.read(node, into: &read).problems.first { throw problem }
    guard let host = read.host else { throw YAMLProblem(node.mark, "a receiver needs its address") }
    do throws(CollectorError) { return try Collector(host: host, port: read.port) } catch {
      throw YAMLProblem(node.mark, "\(error)")
    }
  } write: {
    YAMLText.scalar("\($0)")
  }
}

extension ValueType where Value == Enrichment {
  /// Any mode that flowd-go does not know means all that there is, to flowd-go as well; an empty one is how it is asked
  /// for.
  fileprivate static let flowdGoMode = ValueType("lean, compatible or \"\"") { node throws(YAMLProblem) in
    guard let text = node.text else { throw node.expected("lean, compatible or \"\"") }
    return text.isEmpty ? .full : try ValueType.word([.lean, .compatible]).read(node)
  } write: {
    YAMLText.scalar($0 == .full ? "" : $0.rawValue)
  }
}
