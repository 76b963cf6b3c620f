import CLinux
import Flow
import Glibc

/// The way to the remote ends of the flows: one socket per address family, for all of them.
struct RemoteEnds: ~Copyable {
  private let configuration: Emitter.Configuration.RemoteEnds
  private var ipv4 = RemoteFamily(AF_INET)
  private var ipv6 = RemoteFamily(AF_INET6)
  /// Fireflies whose remote end can't be sent to.
  private(set) var skipped: UInt64 = 0
  /// Fireflies whose remote end is private.
  private(set) var skippedPrivate: UInt64 = 0
  /// The first private remote end that was skipped.
  private(set) var firstPrivate: Address?

  init(_ configuration: Emitter.Configuration.RemoteEnds) {
    self.configuration = configuration
  }

  /// Sends what the kernel takes at once of a burst.
  ///
  /// - Returns: Whether that was all; if not, `settle` comes next.
  mutating func offer(_ burst: borrowing Burst, at now: MonotonicTime) -> Bool {
    let messages = burst.messages(configuration.format)
    ipv4.removeAll()
    ipv6.removeAll()
    for (index, flow) in burst.flows.enumerated() {
      guard Self.canReceive(flow.remote) else {
        skipped += 1
        continue
      }
      guard configuration.includesPrivate || !flow.remote.isPrivate else {
        skippedPrivate += 1
        if firstPrivate == nil { firstPrivate = flow.remote }
        continue
      }
      let name = SocketAddress(address: flow.remote, port: configuration.port)
      if flow.remote.isIPv4 {
        ipv4.append(messages[index], from: flow.local, to: name)
      } else {
        ipv6.append(messages[index], from: flow.local, to: name)
      }
    }
    let isDone = ipv4.offer(at: now)
    return ipv6.offer(at: now) && isDone
  }

  /// Sends the rest of a burst, and gives up what the kernel still has no room for.
  mutating func settle(patience: Int) {
    ipv4.settle(patience: patience)
    ipv6.settle(patience: patience)
  }

  mutating func close() {
    ipv4.close()
    ipv6.close()
  }

  var statistics: Emitter.Statistics.Destination {
    var tally = ipv4.tally
    tally += ipv6.tally
    return Emitter.Statistics.Destination(
      sent: tally.sent, dropped: tally.dropped, errors: tally.errors,
      lastError: ipv6.lastError ?? ipv4.lastError)
  }

  /// Whether a flow's remote end is one host that can be named without an interface.
  static func canReceive(_ address: Address) -> Bool {
    let broadcast = Address(ipv4: 0xffff_ffff)
    return !address.isUnspecified && !address.isMulticast && !address.isLinkLocal && address != broadcast
  }
}
