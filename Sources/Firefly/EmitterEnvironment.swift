import Linux

extension Emitter {
  /// What the emitter takes from the host, and how patient it is. Tests bring their own.
  struct Environment: Sendable {
    var delays = Delays()
    /// Resolves a collector's host; takes as long as it takes.
    var lookup: @Sendable (Collector) throws(LookupFailure) -> [SocketAddress] = {
      (collector) throws(LookupFailure) in try NameLookup.addresses(of: collector)
    }
    /// Opens a socket that sends to one address.
    var open: @Sendable (SocketAddress) throws(SystemError) -> UDPSocket = {
      (address) throws(SystemError) in try UDPSocket(to: address)
    }
  }

  /// How long things may take, in milliseconds.
  struct Delays: Sendable {
    /// How long a collector that never had an address keeps fireflies waiting for one.
    var hold: Int64 = 60_000
    /// A name is resolved again after this time, though all is well.
    var refresh: Int64 = 300_000
    /// The first and the longest pause between attempts to resolve a name that has no address.
    var firstRetry: Int64 = 1_000
    var lastRetry: Int64 = 60_000
    /// A failing collector gets a new socket, and a name is resolved again, at most this often.
    var renewal: Int64 = 10_000
    /// A collector has recovered when it took fireflies for this long without an error.
    var recovery: Int64 = 10_000
  }
}
