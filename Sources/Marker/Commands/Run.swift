import ArgumentParser
import Firefly
import Flow
import Glibc
import Logging
import XDP

/// Runs the daemon.
struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run the daemon in the foreground until SIGTERM or SIGINT.",
    discussion: """
      Needs root, or the capabilities CAP_BPF and CAP_NET_ADMIN.

      Example: mark what leaves eth0, and tell a collector of each flow's start and end
        marker run --interface eth0 --collector collector.example.org:10514
      """)

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
      "What to stamp: `label`, the IPv6 flow label; `dscp`, a DSCP on IPv4; `hopByHop`, `destination` or `hopByHopDestination`, an extension header on IPv6 (docs/extension-headers.md). "
        + "Flows of the other address family are announced only."))
  var strategy = Strategy.label

  @Option(
    help:
      "How marks get into packets: `tc`, by eBPF, `nft`, by nftables, or `auto`, the best that works here.")
  var path = PathChoice.auto

  @Option(help: "Read flows from this named pipe, which is made if missing. Repeat for several.")
  var pipe: [String] = ["/var/run/flowd-go/np"]

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
    help:
      "Where a label's five free bits come from: `kernel` keeps those of the label that the kernel gave the flow, `flow` draws them once per flow."
  )
  var entropy = LabelEntropy.kernel

  @Option(
    help: ArgumentHelp(
      "Code points by hand, for `--strategy dscp`: 2=11,3/14=15,default=none. "
        + "Left an experiment, experiment/activity or `default`, right 0 to 63 or `none`.",
      valueName: "map"))
  var dscpMap: String?

  @Option(
    help: ArgumentHelp(
      "Code points where the map says nothing: `pool2`, experiment << 2 | 3 up to 47; `le`, 1; or `none`.",
      valueName: "preset"))
  var dscpPreset = CodePointMap.Preset.pool2

  @Flag(help: "With `--strategy dscp`, stamp IPv6 packets too.")
  var dscpIpv6 = false

  @Flag(help: "Write the DSCP of packets that have one already, too.")
  var dscpOverwrite = false

  @Option(help: "The hook to attach to, `tcx` or `clsact`, instead of the best that the kernel has.")
  var tcHook: TCHook?

  @Option(help: "The most flows at a time; further ones are refused until others end.")
  var maxFlows = 1_000_000

  @Option(help: "A flow that sends nothing for this many seconds has ended.")
  var idleTimeout = 3600

  @Option(help: "How much to log.")
  var logLevel = LogLevel.info

  func validate() throws {
    guard !interface.isEmpty || discover != nil else {
      throw ValidationError(
        "no --interface: name at least one that traffic leaves through, as `ip link` lists them, or use --discover"
      )
    }
    guard (1...16_000_000).contains(maxFlows) else {
      throw ValidationError("--max-flows is 1 to 16000000, not \(maxFlows)")
    }
    do { _ = try codePoints } catch { throw ValidationError("--dscp-map: \(error)") }
    guard (1...31_536_000).contains(idleTimeout) else {
      throw ValidationError("--idle-timeout is 1 to 31536000 seconds, not \(idleTimeout)")
    }
  }

  func run() async throws {
    // Whoever reads the log may go; that must not end the marking.
    signal(SIGPIPE, SIG_IGN)
    LoggingSystem.bootstrap(StreamLogHandler.standardError)
    var log = Logger(label: "marker")
    log.logLevel = logLevel.level
    try warnOfCodePoints(log)
    let daemon = try Daemon(try settings, log: log)
    try await daemon.run(log: log)
  }

  private var codePoints: CodePointMap {
    get throws(CodePointMapError) {
      try dscpMap.map { text throws(CodePointMapError) in try CodePointMap(dscpPreset, adding: text) }
        ?? CodePointMap(dscpPreset)
    }
  }

  private var settings: Settings {
    get throws {
      Settings(
        interfaces: InterfaceSelection(names: interface, discovery: discover), strategy: strategy, path: path,
        entropy: entropy, codePoints: try codePoints, dscpOnIPv6: dscpIpv6,
        onlyIfUnset: !dscpOverwrite, tcHook: tcHook, pipes: pipe, collectors: collector,
        announcesToRemoteEnds: !noRemoteFireflies,
        limits: FlowTable.Limits(maxFlows: maxFlows, idleTimeout: Int64(idleTimeout) * 1_000_000))
    }
  }

  private func warnOfCodePoints(_ log: Logger) throws(CodePointMapError) {
    guard strategy == .dscp else { return }
    for warning in try codePoints.warnings() { log.notice("\(warning)") }
  }
}

/// swift-log's levels, by their names.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
  case trace, debug, info, notice, warning, error, critical

  var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}
