public import Flow
public import Linux

extension Emitter {
  /// A change in how a collector fares. Told once per change, not per firefly.
  public enum Event: Equatable, Sendable {
    /// The name has no address, or no longer. A socket that is open stays in use.
    case collectorUnresolvable(Collector, reason: String)
    case collectorFailed(Collector, SystemError)
    /// It has an address, and has taken fireflies without an error for a while.
    case collectorRecovered(Collector)
    /// The first remote end that gets no fireflies because its address is private.
    case privateRemoteEnd(Address)
  }
}

extension Emitter.Event: CustomStringConvertible {
  public var description: String {
    switch self {
    case .collectorUnresolvable(let collector, let reason):
      "collector \(collector) has no address: \(reason); it is tried again; "
        + "check the name and the name server"
    case .collectorFailed(let collector, let error):
      "collector \(collector) fails: \(error); it is tried again; "
        + "check that it listens on UDP and is reachable"
    case .collectorRecovered(let collector):
      "collector \(collector) takes fireflies again"
    case .privateRemoteEnd(let address):
      "the remote end \(address) of a flow gets no fireflies because its address is private, and so it is with others "
        + "from now on; fireflies.privateRemoteEnds: true sends them all the same"
    }
  }
}
