extension Emitter {
  /// Where fireflies go and what their header says.
  public struct Configuration: Sendable {
    /// Fireflies to the remote ends of the flows themselves.
    public struct RemoteEnds: Hashable, Sendable {
      /// The UDP port, 1…65535.
      public var port: UInt16
      public var format: FireflyFormat

      public init(port: UInt16 = Collector.defaultPort, format: FireflyFormat = .syslog) {
        self.port = port
        self.format = format
      }
    }

    /// This host's name, for the header.
    public var host: String
    public var collectors: [Collector]
    /// nil: the remote ends get no fireflies.
    public var remoteEnds: RemoteEnds?

    public init(host: String, collectors: [Collector] = [], remoteEnds: RemoteEnds? = RemoteEnds()) {
      self.host = host
      self.collectors = collectors
      self.remoteEnds = remoteEnds
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
