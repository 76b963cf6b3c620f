import Logging
import Synchronization

/// How much is logged, for all loggers at once and while they are in use.
final class LogThreshold: Sendable {
  private let level: Mutex<Logger.Level>

  init(_ level: Logger.Level) { self.level = Mutex(level) }

  var value: Logger.Level {
    get { level.withLock { $0 } }
    set { level.withLock { $0 = newValue } }
  }
}

/// Hands on what the threshold lets through.
struct ThresholdLogHandler: LogHandler {
  private var handler: any LogHandler
  private let threshold: LogThreshold
  /// A logger's own level, where it wants less than the threshold lets through.
  private var own = Logger.Level.trace

  init(_ handler: any LogHandler, _ threshold: LogThreshold) {
    self.handler = handler
    self.threshold = threshold
    self.handler.logLevel = .trace
  }

  var logLevel: Logger.Level {
    get { max(own, threshold.value) }
    set { own = newValue }
  }

  var metadata: Logger.Metadata {
    get { handler.metadata }
    set { handler.metadata = newValue }
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { handler[metadataKey: key] }
    set { handler[metadataKey: key] = newValue }
  }

  func log(event: LogEvent) { handler.log(event: event) }
}
