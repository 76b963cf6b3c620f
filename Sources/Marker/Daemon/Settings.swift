import Firefly
import Flow
import Logging
import XDP

/// What the daemon is to do, however it was said.
struct Settings: Equatable, Sendable {
  /// Without any, packets are not marked and the flows announced only.
  var interfaces = InterfaceSelection()
  var strategy = Strategy.label
  var path = PathChoice.auto
  var entropy = LabelEntropy.kernel
  var codePoints = CodePointMap()
  /// Strategy `dscp` stamps IPv6 too.
  var dscpOnIPv6 = false
  /// Leave packets alone that have a DSCP already.
  var onlyIfUnset = true
  var tcHook: TCHook?
  /// The folder of the control group whose sockets the sock path sets; nil is the root.
  var controlGroup: String?
  /// Marks every packet that no flow matches.
  var markAll: SciTag?
  /// What `markAll` leaves alone.
  var exclusions = Exclusions.none
  var pipes = ["/var/run/flowd-go/np"]
  var api = APISettings()
  /// Fireflies of others.
  var listen = Listening()
  var collectors: [Collector] = []
  var announcesToRemoteEnds = true
  /// Also to remote ends whose address is private.
  var announcesToPrivate = false
  var remotePort = Collector.defaultPort
  /// How often a flow that goes on is announced, microseconds; nil for never.
  var ongoingPeriod: Int64? = 60_000_000
  /// What fireflies tell of TCP connections.
  var enrichment = Enrichment.none
  /// Whether flows that the socket watch found have it in `skOps`.
  var skOps = SkOps.none
  /// Which local address fireflies name by which other.
  var publicAddresses: [Address: Address] = [:]
  /// Asked for the public addresses of those that are not in there.
  var stunServers: [STUNServer] = []
  /// A TCP flow ends with its socket, whoever holds it.
  var endsWithSocket = true
  var limits = FlowTable.Limits()
  /// Marks and flows outlive the daemon, for the next one to go on with.
  var keepsMarks = true
  /// How long marks stay that no other daemon takes over. Microseconds.
  var graceTime: Int64 = 900_000_000
  var logLevel = Logger.Level.info

  /// Whether fireflies go where they did.
  func announcesLike(_ other: Settings) -> Bool {
    collectors == other.collectors && announcesToRemoteEnds == other.announcesToRemoteEnds
      && announcesToPrivate == other.announcesToPrivate && skOps == other.skOps
      && remotePort == other.remotePort && enrichment == other.enrichment && listen.isOn == other.listen.isOn
      && listen.relays == other.listen.relays
  }
}
