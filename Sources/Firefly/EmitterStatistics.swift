public import Flow

extension Emitter {
  /// What became of all fireflies so far.
  public struct Statistics: Equatable, Sendable {
    /// What became of the fireflies of one destination. Each of them is in one of `sent`, `dropped` and
    /// `held`.
    public struct Destination: Equatable, Sendable {
      /// Taken by the kernel, which is all that UDP tells.
      public var sent: UInt64 = 0
      public var dropped: UInt64 = 0
      /// Waiting for the collector's name to be resolved.
      public var held = 0
      /// Fireflies on which the kernel answered with an error, such as a refusal of an earlier one. Those it
      /// did not take are among `dropped`.
      public var errors: UInt64 = 0
      /// The last thing that went wrong, ever.
      public var lastError: String?

      /// None at all.
      public static var zero: Destination { Destination() }
    }

    public struct CollectorStatistics: Equatable, Sendable {
      public var collector: Collector
      /// The address that fireflies go to; nil while there is none.
      public var address: Address?
      /// Between `Event.collectorFailed` or `Event.collectorUnresolvable` and `Event.collectorRecovered`.
      public var isFailing: Bool
      public var destination: Destination
    }

    /// Announcements by state, as far as fireflies could tell of them.
    public struct Announced: Equatable, Sendable {
      public var start: UInt64 = 0
      public var ongoing: UInt64 = 0
      public var end: UInt64 = 0
      /// Those that no firefly can tell of, see `Inexpressible`.
      public var inexpressible: UInt64 = 0
      /// Those that are left to the fireflies that are relayed.
      public var leftToRelay: UInt64 = 0

      public static var zero: Announced { Announced() }
    }

    public var announced: Announced
    /// Fireflies of others that were sent on.
    public var relayed: UInt64
    /// All remote ends together.
    public var remoteEnds: Destination
    /// Fireflies whose remote end gets none, because it is link-local, multicast, broadcast or unspecified.
    public var skippedRemoteEnds: UInt64
    /// Fireflies whose remote end gets none, because its address is private.
    public var privateRemoteEnds: UInt64
    /// In the configuration's order.
    public var collectors: [CollectorStatistics]
  }
}
