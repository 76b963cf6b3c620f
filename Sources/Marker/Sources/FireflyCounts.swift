import Logging

/// What became of datagrams that a listener got.
struct FireflyCounts: Equatable, Sendable {
  /// All that was read.
  var received: UInt64 = 0
  /// Handed to the table.
  var taken: UInt64 = 0
  /// From outside of the networks that may send.
  var notAllowed: UInt64 = 0
  /// Beyond their sender's rate.
  var limited: UInt64 = 0
  /// No fireflies.
  var malformed: UInt64 = 0
  /// This daemon's own, or relayed by it before.
  var echoes: UInt64 = 0
  /// With port 0: they name no flow that could be marked.
  var telemetry: UInt64 = 0
  /// On their way to the collectors.
  var relayed: UInt64 = 0
  /// Not relayed, because the collectors are too slow.
  var notRelayed: UInt64 = 0
  /// Dropped by the kernel, because nobody read them in time.
  var overflowed: UInt64 = 0

  /// All of them with their names.
  var all: [(result: String, count: UInt64)] {
    [
      ("received", received), ("taken", taken), ("notAllowed", notAllowed), ("limited", limited),
      ("malformed", malformed), ("echoes", echoes), ("telemetry", telemetry), ("relayed", relayed),
      ("notRelayed", notRelayed), ("overflowed", overflowed),
    ]
  }

  var metadata: Logger.Metadata {
    Logger.Metadata(uniqueKeysWithValues: all.map { ($0.result, "\($0.count)") })
  }
}
