/// What a datagram carries.
public enum FireflyFormat: String, Hashable, Sendable, CaseIterable {
  /// An RFC 5424 header before the JSON: what collectors expect, and what the reference collector needs.
  case syslog
  /// The JSON alone.
  case bare
}
