/// The benchmarks by their names on the command line, in the page's order.
public enum BenchName: String, CaseIterable, Codable, Sendable {
  case program, traffic, packets, throughput, sock, inline, daemon, api, nft, fireflies, listener, sockets
  case restart

  /// Whether it belongs to the page. Hundreds of kills and restarts take long.
  public var isOnPage: Bool { self != .restart }
}
