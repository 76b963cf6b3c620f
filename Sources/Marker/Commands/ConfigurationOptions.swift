import ArgumentParser
import Firefly
import Flow
import Glibc
import Logging
import XDP

/// The options that say what the daemon is to do: a file, and what overrides it.
struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: [.long, .customShort("c")],
    help: ArgumentHelp(
      "Read this configuration, marker's or flowd-go's, instead of \(Configuration.defaultFile).",
      valueName: "file"))
  var config: String?

  @Option(
    name: [.long, .customShort("i")],
    help:
      "Mark packets that leave through this interface, or those that fit a pattern such as 'eth*'. Repeat for several. They may vanish and return."
  )
  var interface: [String] = []

  @Option(help: "Mark on interfaces that a default route leads through, or that have a global address.")
  var discover: InterfaceSelection.Discovery?

  @Option(
    help: ArgumentHelp(
      "Mark packets of other hosts, which arrive at this port of a bridge and leave by the one that --outside names.",
      valueName: "port"),
    transform: { try ValueType<String>.device.argument($0) })
  var inside: String?

  @Option(
    help: ArgumentHelp("With `--inside`, the port by which these packets leave.", valueName: "port"),
    transform: { try ValueType<String>.device.argument($0) })
  var outside: String?

  @Option(
    help: ArgumentHelp(
      "What to stamp: `label`, the IPv6 flow label; `dscp`, a DSCP on IPv4; `auto`, both; `hopByHop`, `destination` or "
        + "`hopByHopDestination`, an extension header on IPv6. Flows of an address family that is not stamped are "
        + "announced only. The default is `label`."))
  var strategy: Strategy?

  @Option(
    help:
      "How marks get into packets: `sock`, TCP's alone, by the kernel itself, `tc`, by eBPF, `nft`, by nftables; with `--inside`, `raw`, by packet sockets, or `xdp`, by AF_XDP; `auto`, the best that works here, which is the default."
  )
  var path: PathChoice?

  @Option(
    help: ArgumentHelp(
      "Give every packet that belongs to no tagged flow this tag, as perfSONAR hosts do: atlas/perfsonar or 2/1.",
      valueName: "experiment/activity"),
    transform: { try ValueType<SciTag>.tag.argument($0) })
  var markAll: SciTag?

  @Option(
    help: ArgumentHelp(
      "Set the TCP sockets of the processes in this control group, given by its folder, and in those below it. "
        + "The default is `auto`, all of the host; `none` leaves sockets alone.", valueName: "folder"),
    transform: { try ValueType<SocketSettings.Group>.socketGroup.argument($0) })
  var cgroup: SocketSettings.Group?

  @Option(
    help:
      "Read flows from this named pipe, which is made if missing. Repeat for several. The default is /var/run/flowd-go/np.",
    transform: { try ValueType<String>.path.argument($0) })
  var pipe: [String] = []

  @Option(
    help: ArgumentHelp(
      "Serve the HTTP API here: an address and port, or the path of a unix socket; `none` for nowhere. "
        + "Repeat for several. The default is 127.0.0.1:7777 and /run/marker/api.sock.", valueName: "address"),
    transform: { $0 == "none" ? nil : try ValueType<APIAddress>.apiAddress.argument($0) })
  var api: [APIAddress?] = []

  @Option(
    help: ArgumentHelp(
      "Serve metrics for Prometheus at this address and port, too. Repeat for several.", valueName: "address"),
    transform: { try ValueType<Endpoint>.tcpAddress.argument($0) })
  var metrics: [Endpoint] = []

  @Option(
    help: ArgumentHelp(
      "Listen for fireflies of others at this UDP address and mark the flows of this host that they tell of. "
        + "The port is 10514 if not given. Repeat for several.",
      valueName: "address:port"),
    transform: { try ValueType<Endpoint>.listeningAddress.argument($0) })
  var listen: [Endpoint] = []

  @Option(
    help: ArgumentHelp(
      "With `--listen`, hear fireflies from this network: 192.0.2.0/24, 2001:db8::/32 or an address. "
        + "Repeat for several. The default is loopback.",
      valueName: "network"),
    transform: { try ValueType<Network>.network.argument($0) })
  var listenFrom: [Network] = []

  @Flag(help: "With `--listen`, send what is heard to the collectors.")
  var relay = false

  @Option(
    help: ArgumentHelp(
      "Send fireflies to this collector too: host, host:port or [address]:port; the port is 10514 if not given. "
        + "Repeat for several.",
      valueName: "host:port"),
    transform: { text in try Collector(text) })
  var collector: [Collector] = []

  @Flag(help: "Do not send fireflies to the flows' remote ends.")
  var noRemoteFireflies = false

  @Option(
    help: "Announce a flow that goes on this often, or `none`: 90s, 5m, or a number of seconds.",
    transform: { try FireflyPeriod(period: ValueType<Int64?>.fireflyPeriod.argument($0)) })
  var fireflyPeriod: FireflyPeriod?

  @Option(
    help:
      "Where a label's five free bits come from: `kernel` keeps those of the label that the kernel gave the flow, `flow` draws them once per flow."
  )
  var entropy: LabelEntropy?

  @Option(
    help: ArgumentHelp(
      "Code points by hand, for `--strategy dscp`: 2=11,3/14=15,default=none. "
        + "Left an experiment, experiment/activity or `default`, right 0 to 63 or `none`.",
      valueName: "map"),
    transform: { text in try CodePointMap(adding: text) })
  var dscpMap: CodePointMap?

  @Option(
    help: ArgumentHelp(
      "Code points where the map says nothing: `pool2`, experiment << 2 | 3 up to 47; `le`, 1; or `none`.",
      valueName: "preset"))
  var dscpPreset: CodePointMap.Preset?

  @Flag(help: "With `--strategy dscp`, stamp IPv6 packets too.")
  var dscpIpv6 = false

  @Flag(help: "Write the DSCP of packets that have one already, too.")
  var dscpOverwrite = false

  @Option(help: "The hook to attach to, `tcx` or `clsact`, instead of the best that the kernel has.")
  var tcHook: TCHook?

  @Option(
    help: "The most flows at a time; further ones are refused until others end.",
    transform: { try ValueType<Int>.maxFlows.argument($0) })
  var maxFlows: Int?

  @Option(
    help: "A flow that sends nothing for this long has ended: 90s, 5m, 1h, or a number of seconds.",
    transform: { try ValueType<Int64>.idleTimeout.argument($0) })
  var idleTimeout: Int64?

  @Flag(
    help: "When the daemon stops, end the flows and take the marks away instead of leaving them to the next.")
  var clean = false

  @Option(help: "How much to log.")
  var logLevel: LogLevel?

  @Option(help: "How to write the log: `keyValue`, key=value pairs, which is the default, or `json`.")
  var logFormat: LogFormat?

  /// Reads the file and lays the options over it.
  ///
  /// - Throws: `ConfigurationError` where the file is wrong, `PlanError` where what it asks for cannot be.
  func configuration() throws -> Configuration {
    var configuration = try file()
    override(&configuration)
    try configuration.review()
    return configuration
  }

  private func file() throws -> Configuration {
    if let config { return try Configuration(file: config) }
    if access(Configuration.defaultFile, F_OK) == 0 {
      return try Configuration(file: Configuration.defaultFile)
    }
    return Configuration()
  }

  private func override(_ configuration: inout Configuration) {
    func set<Value>(
      _ path: String, _ place: WritableKeyPath<Settings, Value>, _ value: Value?
    ) {
      guard let value, let flag = Setting.named(path)?.flag else { return }
      configuration.settings[keyPath: place] = value
      configuration.set(.flag(flag), of: path)
    }
    set("interfaces", \.interfaces.names, interface.isEmpty ? nil : interface)
    set("discover", \.interfaces.discovery, discover.map(Optional.some))
    set("inline.inside", \.inline.inside, inside.map(Optional.some))
    set("inline.outside", \.inline.outside, outside.map(Optional.some))
    set("strategy", \.strategy, strategy)
    set("path", \.path, path)
    set("markAll", \.markAll, markAll.map(Optional.some))
    set("label.entropy", \.entropy, entropy)
    set("dscp.preset", \.codePoints.preset, dscpPreset)
    set("dscp.map", \.codePointEntries, dscpMap)
    set("dscp.ipv6", \.dscpOnIPv6, dscpIpv6 ? true : nil)
    set("dscp.onlyIfUnset", \.onlyIfUnset, dscpOverwrite ? false : nil)
    set("tc.hook", \.tcHook, tcHook.map(Optional.some))
    set("sockets.cgroup", \.sockets.group, cgroup)
    set("pipes", \.pipes, pipe.isEmpty ? nil : pipe)
    set("api.listen", \.api.listen, api.isEmpty ? nil : .some(api.compactMap(\.self)))
    set("metrics.listen", \.api.metrics.listen, metrics.isEmpty ? nil : metrics)
    set("listen.fireflies", \.listen.addresses, listen.isEmpty ? nil : listen)
    set("listen.from", \.listen.senders, listenFrom.isEmpty ? nil : listenFrom)
    set("listen.relay", \.listen.relays, relay ? true : nil)
    set("fireflies.collectors", \.collectors, collector.isEmpty ? nil : collector)
    set("fireflies.remoteEnds", \.announcesToRemoteEnds, noRemoteFireflies ? false : nil)
    set("fireflies.period", \.ongoingPeriod, fireflyPeriod.map(\.period))
    set("flows.max", \.limits.maxFlows, maxFlows)
    set("flows.idleTimeout", \.limits.idleTimeout, idleTimeout)
    set("restart.keep", \.keepsMarks, clean ? false : nil)
    set("log.level", \.logLevel, logLevel?.level)
    set("log.format", \.logFormat, logFormat)
  }
}

extension ValueType {
  /// Reads an option's value as the configuration would.
  func argument(_ text: String) throws -> Value {
    let node = YAMLNode(content: .scalar(text, isQuoted: false), mark: SourceMark(line: 1, column: 1))
    do throws(YAMLProblem) { return try read(node) } catch { throw ValidationError(error.message) }
  }
}

/// What `--firefly-period` says. Nil is `none`; an option that is not there is another matter.
struct FireflyPeriod: Sendable {
  /// Microseconds.
  let period: Int64?
}

extension LogFormat: ExpressibleByArgument {}

/// swift-log's levels, by their names.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
  case trace, debug, info, notice, warning, error, critical

  var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}
