extension Emitter {
  /// Where fireflies go and what their header says.
  public struct Configuration: Sendable {
    /// Fireflies to the remote ends of the flows themselves.
    public struct RemoteEnds: Hashable, Sendable {
      /// The UDP port, 1…65535.
      public var port: UInt16
      public var format: FireflyFormat
      /// Also where the remote end's address is private (`Address.isPrivate`).
      public var includesPrivate: Bool

      public init(
        port: UInt16 = Collector.defaultPort, format: FireflyFormat = .syslog, includesPrivate: Bool = false
      ) {
        self.port = port
        self.format = format
        self.includesPrivate = includesPrivate
      }
    }

    /// This host's name, for the header.
    public var host: String
    public var collectors: [Collector]
    /// nil: the remote ends get no fireflies.
    public var remoteEnds: RemoteEnds?
    /// What fireflies tell of TCP connections.
    public var enrichment: Enrichment

    /// Where flows that the socket watch found have it.
    public var skOps: SkOps
    /// What fireflies name this host's ends by, where NAT hides them.
    public var publicAddresses: PublicAddresses?

    /// What a listener hears, where there is one.
    public var heard: HeardFireflies?
    /// Fireflies that are heard go to the collectors as they are, so that of flows which they started no others need
    /// be sent.
    public var relays: Bool

    public init(
      host: String, collectors: [Collector] = [], remoteEnds: RemoteEnds? = RemoteEnds(),
      enrichment: Enrichment = .none, skOps: SkOps = .none, publicAddresses: PublicAddresses? = nil,
      heard: HeardFireflies? = nil, relays: Bool = false
    ) {
      self.skOps = skOps
      self.publicAddresses = publicAddresses
      self.enrichment = enrichment
      self.host = host
      self.collectors = collectors
      self.remoteEnds = remoteEnds
      self.heard = heard
      self.relays = relays
    }
  }
}
