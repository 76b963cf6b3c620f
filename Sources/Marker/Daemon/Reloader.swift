import Logging
import ServiceLifecycle
import UnixSignals

/// Reads the configuration again at each SIGHUP, and has the daemon take over what has changed. What cannot be read or
/// had leaves all as it is.
struct Reloader: Service {
  private let initial: Configuration
  private let daemon: Daemon
  private let threshold: LogThreshold
  private let output: LogOutput
  private let manager: ServiceManager?
  private let log: Logger
  private let read: @Sendable () throws -> Configuration

  /// - Parameter read: gives the configuration as it is now.
  init(
    _ initial: Configuration, _ daemon: Daemon, _ threshold: LogThreshold, _ output: LogOutput,
    manager: ServiceManager? = nil, log: Logger,
    read: @escaping @Sendable () throws -> Configuration
  ) {
    self.initial = initial
    self.daemon = daemon
    self.threshold = threshold
    self.output = output
    self.manager = manager
    self.log = log
    self.read = read
  }

  func run() async throws {
    var current = initial
    for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
      manager?.reloading()
      manager?.ready(await reload(&current))
    }
    // The sequence may end a moment before the group comes to stopping this service.
    try await gracefulShutdown()
  }

  /// - Returns: what came of it.
  private func reload(_ current: inout Configuration) async -> String {
    do {
      let new = try read()
      for warning in new.warnings where !current.warnings.contains(warning) {
        log.warning("\(new.text(of: warning))")
      }
      let changed = Setting.all.filter { $0.write(new.settings) != $0.write(current.settings) }.map(\.path)
      try await daemon.reconfigure(new.settings, from: current.settings, log: log)
      threshold.value = new.settings.logLevel
      output.format = new.settings.logFormat
      current = new
      log.info(
        "configuration read again",
        metadata: ["file": "\(new.file ?? "none")", "changed": "\(changed.joined(separator: " "))"])
      return daemon.status
    } catch {
      log.error("the configuration stays as it was", metadata: ["error": "\(error)"])
      return "\(daemon.status); the configuration read last is wrong and was not taken over: \(error)"
    }
  }
}
