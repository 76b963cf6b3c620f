import Firefly
import Flow
import Linux
import Logging
import XDP

/// What the daemon is to do, however it was said.
struct Settings: Equatable, Sendable {
  /// Without any, packets are not marked and the flows announced only.
  var interfaces = InterfaceSelection()
  /// Ports between which packets are marked for others.
  var inline = InlineSettings()
  var strategy = Strategy.label
  var path = PathChoice.auto
  var entropy = LabelEntropy.kernel
  var codePoints = CodePointMap()
  /// Strategy `dscp` stamps IPv6 too.
  var dscpOnIPv6 = false
  /// Leave packets alone that have a DSCP already.
  var onlyIfUnset = true
  var tcHook: TCHook?
  /// Where among the programs of others, at tcx.
  var tcOrder = TCXOrder.first
  /// Marks every packet that no flow matches.
  var markAll: SciTag?
  /// What `markAll` leaves alone.
  var exclusions = Exclusions.none
  /// Those of the configuration; `socketRules` are all.
  var rules: [SocketRule] = []
  var sockets = SocketSettings()
  /// With `markAll`, flows of their own are made of this host's sockets and announced.
  var announcesMarkAll = true
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
  var logFormat = LogFormat.keyValue

  /// Whether packets are to be marked, and flows not only announced.
  var marksPackets: Bool { !interfaces.isEmpty || inline.isOn || path == .sock }

  /// Whether fireflies go where they did.
  func announcesLike(_ other: Settings) -> Bool {
    collectors == other.collectors && announcesToRemoteEnds == other.announcesToRemoteEnds
      && announcesToPrivate == other.announcesToPrivate && skOps == other.skOps
      && remotePort == other.remotePort && enrichment == other.enrichment && listen.isOn == other.listen.isOn
      && listen.relays == other.listen.relays
  }
}

/// How rules find sockets.
struct SocketSettings: Equatable, Sendable {
  /// Where a program is told of TCP's events.
  enum Group: Equatable, Sendable {
    /// All processes that this one may see: the root of what is mounted of cgroup2.
    case root
    /// Nowhere: sockets are looked for.
    case none
    case folder(String)

    /// Nil for none, and where cgroup2 is not mounted.
    func folder() throws(SystemError) -> String? {
      switch self {
      case .root: try ControlGroup.mountPoint()
      case .folder(let path): path
      case .none: nil
      }
    }
  }
  var group = Group.root
  /// Between dumps of sockets that nothing else tells of, microseconds.
  var period: Int64 = 5_000_000
}

extension Settings {
  /// The rules of the configuration, and behind them those of the mark-all tag: what `markAll` leaves alone is no flow of
  /// its own either.
  var socketRules: [SocketRule] {
    guard let markAll, announcesMarkAll else { return rules }
    let excluded = exclusions.networks + Network.loopback
    var all = rules + [SocketRule(.exclude, networks: excluded)]
    if !exclusions.ports.isEmpty {
      all.append(SocketRule(.exclude, localPorts: exclusions.ports))
      all.append(SocketRule(.exclude, remotePorts: exclusions.ports))
    }
    return all + [SocketRule(.tag([markAll]), origin: .perfSONAR)]
  }
}
