import Firefly

/// What became of fireflies since the daemon started, whatever destinations were configured meanwhile.
struct FireflyTotals: Sendable {
  /// One collector.
  struct CollectorTotals: Sendable {
    /// As it is configured.
    let name: String
    var destination: Emitter.Statistics.Destination
    /// The address that fireflies go to; nil while there is none.
    var address: String?
    var isFailing: Bool
  }

  var announced = Emitter.Statistics.Announced.zero
  var relayed: UInt64 = 0
  var remoteEnds = Emitter.Statistics.Destination.zero
  var skippedRemoteEnds: UInt64 = 0
  var privateRemoteEnds: UInt64 = 0
  /// Those in use now, and those that were.
  var collectors: [CollectorTotals] = []

  /// Adds what one emitter has sent; how its collectors fare is what counts from now on.
  mutating func add(_ statistics: Emitter.Statistics) {
    announced.start += statistics.announced.start
    announced.ongoing += statistics.announced.ongoing
    announced.end += statistics.announced.end
    announced.inexpressible += statistics.announced.inexpressible
    announced.leftToRelay += statistics.announced.leftToRelay
    relayed += statistics.relayed
    remoteEnds.add(statistics.remoteEnds)
    skippedRemoteEnds += statistics.skippedRemoteEnds
    privateRemoteEnds += statistics.privateRemoteEnds
    for collector in statistics.collectors {
      let address = collector.address.map { "\($0)" }
      if let place = collectors.firstIndex(where: { $0.name == "\(collector.collector)" }) {
        collectors[place].destination.add(collector.destination)
        collectors[place].address = address
        collectors[place].isFailing = collector.isFailing
      } else {
        collectors.append(
          CollectorTotals(
            name: "\(collector.collector)", destination: collector.destination, address: address,
            isFailing: collector.isFailing))
      }
    }
  }
}

extension Emitter.Statistics.Destination {
  fileprivate mutating func add(_ other: Self) {
    sent += other.sent
    dropped += other.dropped
    held += other.held
    errors += other.errors
    lastError = other.lastError ?? lastError
  }
}
