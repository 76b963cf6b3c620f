import ArgumentParser
import Firefly
import Flow
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
    help: "Mark packets that leave through this interface. Repeat for several. It may vanish and return.")
  var interface: [String] = []

  @Option(help: "What to stamp: `label`, the IPv6 flow label; IPv4 flows are announced only.")
  var strategy = Strategy.label

  @Option(
    help: "How marks get into packets: `tc`, by eBPF as they leave an interface, or `auto`, the best way.")
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

  @Option(help: "The hook to attach to, `tcx` or `clsact`, instead of the best that the kernel has.")
  var tcHook: TCHook?

  @Option(help: "The most flows at a time; further ones are refused until others end.")
  var maxFlows = 1_000_000

  @Option(help: "A flow that sends nothing for this many seconds has ended.")
  var idleTimeout = 3600

  @Option(help: "How much to log.")
  var logLevel = LogLevel.info

  func validate() throws {
    guard !interface.isEmpty else {
      throw ValidationError(
        "no --interface: name at least one that traffic leaves through, as `ip link` lists them")
    }
    guard (1...16_000_000).contains(maxFlows) else {
      throw ValidationError("--max-flows is 1 to 16000000, not \(maxFlows)")
    }
    guard (1...31_536_000).contains(idleTimeout) else {
      throw ValidationError("--idle-timeout is 1 to 31536000 seconds, not \(idleTimeout)")
    }
  }

  func run() async throws {
    LoggingSystem.bootstrap(StreamLogHandler.standardError)
    var log = Logger(label: "marker")
    log.logLevel = logLevel.level
    let daemon: Daemon
    do {
      daemon = try Daemon(settings, log: log)
    } catch {
      if case BPFError.load(_, let details) = error, !details.isEmpty { log.debug("\(details)") }
      throw error
    }
    try await daemon.run(log: log)
  }

  private var settings: Settings {
    Settings(
      interfaces: interface, entropy: entropy, tcHook: tcHook, pipes: pipe, collectors: collector,
      announcesToRemoteEnds: !noRemoteFireflies,
      limits: FlowTable.Limits(maxFlows: maxFlows, idleTimeout: Int64(idleTimeout) * 1_000_000))
  }
}

/// How marks get into packets.
enum PathChoice: String, ExpressibleByArgument, CaseIterable {
  case auto, tc
}

/// What is stamped into packets.
enum Strategy: String, ExpressibleByArgument, CaseIterable {
  case label
}

/// swift-log's levels, by their names.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
  case trace, debug, info, notice, warning, error, critical

  var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}
