import Flow
import Linux
import Logging

/// Keeps a flood of bad input out of the log: so many warnings in a period, then a count of the rest.
struct ComplaintLimit {
  private static let perPeriod = 20
  /// Microseconds.
  private static let period: Int64 = 10_000_000

  private var periodStart = MonotonicTime.now()
  private var reported = 0
  private var suppressed = 0

  mutating func report(
    _ log: Logger, _ message: Logger.Message, _ metadata: @autoclosure () -> Logger.Metadata
  ) {
    let now = MonotonicTime.now()
    if now.microseconds(since: periodStart) >= Self.period {
      if suppressed > 0 {
        log.warning(
          "more of the same was not logged", metadata: ["what": "\(message)", "count": "\(suppressed)"])
      }
      periodStart = now
      reported = 0
      suppressed = 0
    }
    guard reported < Self.perPeriod else {
      suppressed += 1
      return
    }
    reported += 1
    log.warning(message, metadata: metadata())
  }
}
