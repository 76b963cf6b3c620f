public import Flow
public import Linux
import Synchronization

/// Sends fireflies to the flows' remote ends and to collectors. No destination that is dead, slow or unknown
/// holds up another.
///
/// Safe to use from any thread; fireflies keep their order where one thread sends.
public final class Emitter: Sendable {
  private let applications: ApplicationNames
  private let links: [CollectorLink]
  private let desk: Mutex<Desk>
  /// As it was after the last `send`, so that nobody who reads it waits for a `send`.
  private let counts = Mutex(Counts())

  private let heard: HeardFireflies?
  private let relays: Bool
  private let publicAddresses: PublicAddresses?
  private let log: @Sendable (Event) -> Void

  private struct Counts {
    var relayed: UInt64 = 0
    var announced = Statistics.Announced()
    var remoteEnds = Statistics.Destination()
    var skipped: UInt64 = 0
    var skippedPrivate: UInt64 = 0
  }

  /// What only the sending thread works with.
  private struct Desk: ~Copyable {
    var encoder: FireflyEncoder
    let enrichment: Enrichment
    let skOps: SkOps
    var burst = Burst()
    /// Of flows that fireflies of others started.
    var hearsay = Burst()
    var relay = RelayDesk()
    var remoteEnds: RemoteEnds?
    /// The application named last, as most flows have the same.
    var application: (id: ApplicationNames.ID, name: String)?
    var announced = Statistics.Announced()
    var toldOfPrivate = false

    init(_ configuration: Configuration) {
      encoder = FireflyEncoder(host: configuration.host)
      enrichment = configuration.enrichment
      skOps = configuration.skOps
      if let remoteEnds = configuration.remoteEnds { self.remoteEnds = RemoteEnds(remoteEnds) }
    }

    mutating func name(of id: ApplicationNames.ID, in names: ApplicationNames) -> String {
      if let application, application.id == id { return application.name }
      let name = names.name(of: id)
      application = (id, name)
      return name
    }
  }

  /// Opens the ways to all destinations; names are resolved in the background.
  ///
  /// - Parameter log: Told how collectors fare. Called from the thread that sends or from one of the
  ///   emitter's own, so it must be quick, and must not call `send` or `stop`.
  /// - Throws: Where the process may have no more descriptors or threads. A destination that can't be reached
  ///   is no error: it is tried again.
  public convenience init(
    configuration: Configuration, applications: ApplicationNames,
    log: @escaping @Sendable (Event) -> Void = { _ in }
  ) throws(SystemError) {
    try self.init(configuration, applications, Environment(), log: log)
  }

  init(
    _ configuration: Configuration, _ applications: ApplicationNames, _ environment: Environment,
    log: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    self.applications = applications
    self.log = log
    heard = configuration.heard
    publicAddresses = configuration.publicAddresses
    relays = configuration.relays
    var links: [CollectorLink] = []
    for collector in configuration.collectors {
      links.append(try CollectorLink(collector, environment, log: log))
    }
    self.links = links
    desk = Mutex(Desk(configuration))
    for link in links { try link.start() }
  }

  deinit { stop() }

  /// Sends the fireflies of these announcements to all destinations. Returns when the kernel has them, or
  /// they are held for a name that is being resolved, or dropped and counted.
  public func send(_ announcements: ContiguousArray<Announcement>, at now: WallClockTime) {
    let addresses = publicAddresses?.table ?? PublicAddressTable()
    desk.withLock { desk in
      for announcement in announcements {
        if relays, announcement.origin.isHearsay {
          desk.announced.leftToRelay += 1
          continue
        }
        let application = desk.name(of: announcement.application, in: applications)
        do throws(Inexpressible) {
          try desk.encoder.encode(
            announcement, as: addresses.publicForm(of: announcement), application: application,
            enrichment: desk.enrichment, skOps: desk.skOps, at: now)
        } catch {
          desk.announced.inexpressible += 1
          continue
        }
        switch announcement.state {
        case .start: desk.announced.start += 1
        case .ongoing: desk.announced.ongoing += 1
        case .end: desk.announced.end += 1
        }
        if let heard { desk.encoder.withBytes(as: .bare) { heard.note($0) } }
        append(announcement, &desk)
      }
      flush(&desk)
      let latest = Counts(
        relayed: desk.relay.count, announced: desk.announced,
        remoteEnds: desk.remoteEnds?.statistics ?? Statistics.Destination(),
        skipped: desk.remoteEnds?.skipped ?? 0, skippedPrivate: desk.remoteEnds?.skippedPrivate ?? 0)
      counts.withLock { $0 = latest }
      if !desk.toldOfPrivate, let address = desk.remoteEnds?.firstPrivate {
        desk.toldOfPrivate = true
        log(.privateRemoteEnd(address))
      }
    }
  }

  private func append(_ announcement: Announcement, _ desk: inout Desk) {
    let ends = Burst.Ends(local: announcement.key.local.address, remote: announcement.key.remote.address)
    let size = desk.encoder.datagram.count
    if announcement.origin.isHearsay {
      if !desk.hearsay.hasRoom(for: size) { flushHearsay(&desk) }
      desk.hearsay.append(desk.encoder, ends, experiment: announcement.tag.experiment)
    } else {
      if !desk.burst.hasRoom(for: size) { flushOwn(&desk) }
      desk.burst.append(desk.encoder, ends, experiment: announcement.tag.experiment)
    }
  }

  private func flush(_ desk: inout Desk) {
    flushOwn(&desk)
    flushHearsay(&desk)
  }

  /// Sends the burst to all destinations, and only then again to those that had no room for all of it.
  private func flushOwn(_ desk: inout Desk) {
    guard desk.burst.count > 0 else { return }
    let now = MonotonicTime.now()
    var isDone = desk.remoteEnds?.offer(desk.burst, at: now) ?? true
    for link in links where !link.offer(desk.burst, at: now) { isDone = false }
    if !isDone {
      // Waiting is for the only destination: it would hold up the others' next burst.
      let isAlone = links.count + (desk.remoteEnds == nil ? 0 : 1) == 1
      let patience = isAlone ? 2 : 0
      desk.remoteEnds?.settle(patience: patience)
      for link in links { link.settle(desk.burst, patience: patience, at: now) }
    }
    desk.burst.removeAll()
  }

  /// Not to remote ends: two hosts that listen could tell each other of a flow for ever. Not to a collector that sends
  /// fireflies here: it may be the one that told of the flow.
  private func flushHearsay(_ desk: inout Desk) {
    guard desk.hearsay.count > 0 else { return }
    let others = links.filter { link in
      guard let heard, let address = link.address?.address else { return true }
      return !heard.isSender(address)
    }
    Self.send(desk.hearsay, to: others)
    desk.hearsay.removeAll()
  }

  private static func send(_ burst: borrowing Burst, to links: [CollectorLink]) {
    let now = MonotonicTime.now()
    let full = links.filter { !$0.offer(burst, at: now) }
    for link in full { link.settle(burst, patience: links.count == 1 ? 2 : 0, at: now) }
  }

  /// Sends fireflies of others to all collectors but those that they came from. A header that collectors do not
  /// understand is replaced.
  public func relay(_ batch: borrowing RelayBatch, at now: WallClockTime) {
    desk.withLock { desk in
      let addresses = links.map(\.address)
      for index in 0..<batch.count {
        let sender = batch.entries[index].sender
        let isFromCollector = addresses.contains { $0?.isHome(of: sender) ?? false }
        if !desk.relay.append(batch, index, isFromCollector ? sender : nil, at: now) {
          flushRelay(&desk)
          _ = desk.relay.append(batch, index, isFromCollector ? sender : nil, at: now)
        }
      }
      flushRelay(&desk)
      let count = desk.relay.count
      counts.withLock { $0.relayed = count }
    }
  }

  private func flushRelay(_ desk: inout Desk) {
    guard desk.relay.burst.count > 0 else { return }
    let sender = desk.relay.sender
    let others = links.filter { link in
      guard let sender, let address = link.address else { return true }
      return !address.isHome(of: sender)
    }
    Self.send(desk.relay.burst, to: others)
    desk.relay.removeAll()
  }

  /// Closes all sockets and ends the look-ups; one that is under way ends unheeded. What is held is dropped,
  /// and so is whatever is sent later. A `send` under way ends first.
  public func stop() {
    desk.withLock { $0.remoteEnds?.close() }
    for link in links { link.stop() }
  }

  public var statistics: Statistics {
    let counts = counts.withLock { $0 }
    return Statistics(
      announced: counts.announced, relayed: counts.relayed, remoteEnds: counts.remoteEnds,
      skippedRemoteEnds: counts.skipped, privateRemoteEnds: counts.skippedPrivate,
      collectors: links.map(\.statistics))
  }
}
