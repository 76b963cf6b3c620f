import ArgumentParser
import Glibc
import Linux
import Logging

/// Runs the daemon.
struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run the daemon in the foreground until SIGTERM or SIGINT.",
    discussion: """
      Needs root, or the capabilities CAP_BPF and CAP_NET_ADMIN. Options win over the configuration file. SIGHUP reads \
      the file again and takes over what has changed, without a packet unmarked.

      Example: mark what leaves eth0, and tell a collector of each flow's start and end
        marker run --interface eth0 --collector collector.example.org:10514
      """)

  @OptionGroup var options: ConfigurationOptions

  func run() async throws {
    // Whoever reads the log may go; that must not end the marking.
    signal(SIGPIPE, SIG_IGN)
    let configuration = try options.configuration()
    let settings = configuration.settings
    guard configuration.file != nil || !settings.interfaces.isEmpty || settings.inline.isOn else {
      throw ValidationError(Self.nothingToDo)
    }
    if case .flag = configuration.origin(of: "interfaces") {
      try Self.requireInterfaces(configuration.settings.interfaces)
    }
    let level = LogThreshold(configuration.settings.logLevel)
    let output = LogOutput(configuration.settings.logFormat)
    LoggingSystem.bootstrap { _ in ThresholdLogHandler(OutputLogHandler(output), level) }
    let log = Logger(label: "marker")
    if let file = configuration.file { log.info("configured", metadata: ["file": "\(file)"]) }
    for warning in configuration.warnings { log.warning("\(configuration.text(of: warning))") }

    let manager = ServiceManager.current(log: log)
    let daemon = try Daemon(configuration.settings, manager: manager, log: log, output: output)
    let reloader = Reloader(configuration, daemon, level, output, manager: manager, log: log) {
      try options.configuration()
    }
    try await daemon.run(beside: [reloader, LogTail(output: output)], log: log)
  }

  /// Somebody is there to mend a mistake, unlike when a host starts and its interfaces come late.
  private static func requireInterfaces(_ selection: InterfaceSelection) throws {
    let present = try Interface.all().map(\.name)
    for name in selection.exactNames where !present.contains(name) {
      throw ValidationError("no interface \(name) here; there are \(present.joined(separator: ", "))")
    }
  }

  private static var nothingToDo: String {
    let other =
      access(Configuration.flowdGoFile, R_OK) == 0 ? "; flowd-go's \(Configuration.flowdGoFile) does too" : ""
    return
      "no \(Configuration.defaultFile) and no --interface: name at least one that traffic leaves through, as "
      + "`ip link` lists them, use --discover, name two ports with --inside and --outside, or give a configuration with --config\(other)"
  }
}
