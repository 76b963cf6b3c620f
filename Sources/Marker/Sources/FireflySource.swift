import CLinux
import Firefly
import Flow
import Glibc
import Linux
import Logging
import ServiceLifecycle
import Synchronization

/// A listening socket that may be in use while the next ones are chosen.
final class SharedListeningSocket: Sendable {
  /// As it was asked for.
  let address: Endpoint
  let takesIPv4: Bool
  let socket: ListeningSocket
  private let dropped = Mutex<UInt32>(0)

  init(_ address: Endpoint, takesIPv4: Bool, besideOthers: Bool) throws(SystemError) {
    self.address = address
    self.takesIPv4 = takesIPv4
    socket = try ListeningSocket(at: address, takesIPv4: takesIPv4, besideOthers: besideOthers)
  }

  /// Datagrams that the kernel dropped since the last call.
  func newlyDropped() -> UInt32 {
    let total = socket.dropped
    return dropped.withLock { dropped in
      defer { dropped = total }
      return total &- dropped
    }
  }
}

/// Hears fireflies of others, by UDP, and has the flows marked that they tell of.
final class FireflySource: Service {
  /// Open sockets, and how what comes there is judged.
  struct Ears: Sendable {
    let settings: Listening
    let sockets: [SharedListeningSocket]
  }

  private let ears: Mutex<Ears>
  private let counts = Mutex(FireflyCounts())
  private let inbox: BoundedQueue<FlowEvent>
  private let relay: RelayQueue
  private let heard: HeardFireflies
  private let applications: ApplicationNames
  private let log: Logger
  private let stop: EventCounter
  private let changed: EventCounter

  init(
    _ settings: Listening, inbox: BoundedQueue<FlowEvent>, relay: RelayQueue, heard: HeardFireflies,
    applications: ApplicationNames, log: Logger
  ) throws(SystemError) {
    self.inbox = inbox
    self.relay = relay
    self.heard = heard
    self.applications = applications
    self.log = log
    stop = try EventCounter()
    changed = try EventCounter()
    ears = Mutex(Ears(settings: settings, sockets: []))
    let opened = try open(settings)
    ears.withLock { $0 = opened }
    tell(opened, before: [])
  }

  var statistics: FireflyCounts { counts.withLock { $0 } }

  /// Opens the sockets that are to be heard; those that are open already stay.
  func open(_ settings: Listening) throws(SystemError) -> Ears {
    let old = ears.withLock { $0.sockets }
    // An address may overlap with that of a socket that is closed once its successor is there.
    for socket in old { socket.socket.setShared(true) }
    defer { for socket in old { socket.socket.setShared(false) } }
    var sockets: [SharedListeningSocket] = []
    for address in settings.addresses {
      let takesIPv4 = Self.takesIPv4(address, among: settings.addresses)
      if let socket = old.first(where: { $0.address == address && $0.takesIPv4 == takesIPv4 }) {
        sockets.append(socket)
      } else {
        sockets.append(
          try SharedListeningSocket(address, takesIPv4: takesIPv4, besideOthers: !old.isEmpty))
      }
    }
    return Ears(settings: settings, sockets: sockets)
  }

  /// `[::]` stands for all of the host's addresses, unless IPv4 has sockets of its own at the port.
  private static func takesIPv4(_ address: Endpoint, among all: [Endpoint]) -> Bool {
    address.address == .unspecified && !all.contains { $0.address.isIPv4 && $0.port == address.port }
  }

  /// Hears these from now on, and no others.
  func listen(_ new: Ears) {
    let old = ears.withLock { ears in
      defer { ears = new }
      return ears.sockets
    }
    changed.signal()
    tell(new, before: old)
  }

  private func tell(_ new: Ears, before old: [SharedListeningSocket]) {
    for socket in new.sockets where !old.contains(where: { $0 === socket }) {
      log.info(
        "listening for fireflies",
        metadata: [
          "address": "\(socket.socket.address)",
          "from": "\(new.settings.senders.map(\.description).joined(separator: " "))",
        ])
    }
  }

  func run() async throws {
    await withGracefulShutdownHandler {
      await runOnThread(named: "listener") { self.listen() }
    } onGracefulShutdown: {
      self.stop.signal()
    }
    // The inbox may be closed first, and a service that ends by itself counts as failed.
    try await gracefulShutdown()
  }

  private func listen() {
    var current = ears.withLock { $0 }
    var reader = FireflyReader(current.settings, applications: applications, heard: heard, log: log)
    var descriptors = watch(current)
    while true {
      for index in descriptors.indices { descriptors[index].revents = 0 }
      _ = poll(&descriptors, nfds_t(descriptors.count), -1)
      if descriptors[0].revents != 0 { break }
      if descriptors[1].revents != 0 {
        changed.clear()
        let next = ears.withLock { $0 }
        // What has come to a socket that is closed now is heard still.
        for socket in current.sockets where !next.sockets.contains(where: { $0 === socket }) {
          _ = reader.drain(socket, into: inbox, relay: relay)
        }
        current = next
        reader.follow(current.settings)
        descriptors = watch(current)
        continue
      }
      for (index, socket) in current.sockets.enumerated() where descriptors[index + 2].revents != 0 {
        guard reader.drain(socket, into: inbox, relay: relay) else { return }
      }
      publish(reader.counts)
    }
    guard current.settings.isOn || reader.counts.received > 0 else { return }
    log.info("fireflies heard", metadata: reader.counts.metadata)
  }

  /// What became of the datagrams so far.
  var heardSoFar: FireflyCounts { counts.withLock { $0 } }

  private func publish(_ new: FireflyCounts) { counts.withLock { $0 = new } }

  private func watch(_ ears: Ears) -> [pollfd] {
    ([stop.descriptor, changed.descriptor] + ears.sockets.map { $0.socket.descriptor }).map {
      pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
    }
  }
}
