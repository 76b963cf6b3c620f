import Firefly
import Flow
import Logging
import XDP

extension Setting {
  /// All settings, in the order in which they are shown.
  static let all: [Setting] = [
    Setting(
      "interfaces", \.interfaces.names, .list(of: .interface),
      "Mark packets that leave through these interfaces. They may vanish and return.", flag: "--interface"),
    Setting(
      "discover", \.interfaces.discovery, .optional(.word(), none: "none"),
      "Mark also on interfaces that a default route leads through, or that have a global address.",
      flag: "--discover"),
    Setting(
      "inline.inside", \.inline.inside, .optional(.device, none: "none"),
      "Mark packets of other hosts: they arrive at this port of a bridge; see [inline](inline.md).",
      flag: "--inside"),
    Setting(
      "inline.outside", \.inline.outside, .optional(.device, none: "none"),
      "The port of the same bridge by which these packets leave.", flag: "--outside"),
    Setting(
      "inline.engine", \.inline.engine, .word(),
      "How packets are taken over there: packet sockets (raw), AF_XDP, or the better of the two for these ports."
    ),
    Setting(
      "inline.networks", \.inline.networks, .list(of: .network),
      "The addresses of the hosts inside: flows of theirs are marked as this host's own are."),
    Setting(
      "strategy", \.strategy, .word(), "What is stamped into packets.", flag: "--strategy"),
    Setting(
      "path", \.path, .word([.auto] + PathKind.allCases.compactMap { PathChoice(rawValue: $0.rawValue) }),
      "How marks get into packets; auto is the best that works.", flag: "--path"),
    Setting(
      "markAll", \.markAll, .optional(.tag, none: "none"),
      "The tag of every packet that belongs to no tagged flow, for perfSONAR hosts.", flag: "--mark-all"),
    Setting(
      "markAllExcept.networks", \.exclusions.networks,
      .list(of: .network, atMost: Exclusions.networkLimit),
      "Networks that markAll leaves alone: packets that go there are marked only if their flow is tagged."),
    Setting(
      "markAllExcept.ports", \.exclusions.ports, .list(of: .portRange, atMost: Exclusions.portLimit),
      "Ports of either end that markAll leaves alone, such as 22 for ssh."),
    Setting(
      "label.entropy", \.entropy, .word(),
      "Where a label's five free bits come from: the label that the kernel gave the flow, or a draw per flow.",
      flag: "--entropy"),
    Setting(
      "dscp.preset", \.codePoints.preset, .word(), "Code points where dscp.map says nothing.",
      flag: "--dscp-preset"),
    Setting("dscp.map", \.codePointEntries, .codePointEntries, "Code points by hand.", flag: "--dscp-map"),
    Setting("dscp.ipv6", \.dscpOnIPv6, .bool, "Strategy dscp stamps IPv6 too.", flag: "--dscp-ipv6"),
    Setting(
      "dscp.onlyIfUnset", \.onlyIfUnset, .bool, "Leave packets alone that have a DSCP already.",
      flag: "--dscp-overwrite"),
    Setting(
      "tc.hook", \.tcHook, .optional(.word(), none: "auto"),
      "The hook of the tc path; auto is the best there is.",
      flag: "--tc-hook"),
    Setting(
      "tc.order", \.tcOrder, .order,
      "Where marker's program runs among those of others at tcx: first, last, or before or after one of them, by its number."
    ),
    Setting(
      "pipes", \.pipes, .list(of: .path), "Named pipes that flows are read from; made if missing.",
      flag: "--pipe"),
    Setting(
      "api.listen", \.api.listen, .optional(.list(of: .apiAddress), none: "default"),
      "Where the HTTP API is served; [] for nowhere, default for 127.0.0.1:7777 and /run/marker/api.sock if free.",
      flag: "--api"),
    Setting(
      "api.allow", \.api.allow, .list(of: .network), "Clients of the API that may, beside this host's own."),
    Setting(
      "api.tokenFile", \.api.tokenFile, .optional(.path, none: "none"),
      "A file with the token that all other clients of the API need."),
    Setting(
      "api.rate", \.api.rate, .requestRate,
      "Requests that a client on another host may make in a second; this host's own may as many as they like."
    ),
    Setting(
      "metrics.listen", \.api.metrics.listen, .list(of: .tcpAddress),
      "Where metrics are served for Prometheus, besides /metrics of the API.", flag: "--metrics"),
    Setting(
      "metrics.allow", \.api.metrics.allow, .list(of: .network),
      "Clients of metrics.listen that may, beside this host's own."),
    Setting(
      "metrics.flows", \.api.metrics.flows, .integer(0...MetricsSettings.flowLimit),
      "Flows at most that have TCP metrics of their own, by address and port; the rest is counted. 0 for none."
    ),
    Setting(
      "listen.fireflies", \.listen.addresses, .list(of: .listeningAddress),
      "Mark flows of this host that fireflies of others tell of; they are heard at these UDP addresses.",
      flag: "--listen"),
    Setting(
      "listen.from", \.listen.senders, .list(of: .network), "Whose fireflies are heard.",
      flag: "--listen-from"),
    Setting(
      "listen.rate", \.listen.rate, .fireflyRate, "Fireflies of one sender that are heard in a second."),
    Setting(
      "listen.relay", \.listen.relays, .bool, "Send what is heard to the collectors, as it came.",
      flag: "--relay"),
    Setting(
      "rules", \.rules, .list(of: .socketRule),
      "Sockets of this host that are tagged flows of themselves; the first rule that fits decides, see [below](#rules)."
    ),
    Setting(
      "sockets.cgroup", \.sockets.group, .socketGroup,
      "The control group at whose TCP events rules find connections and path sock sets them; auto is all of the host.",
      flag: "--cgroup"),
    Setting(
      "sockets.period", \.sockets.period, .socketPeriod,
      "How often rules look for sockets where the kernel does not tell: for UDP always, for TCP without sockets.cgroup."
    ),
    Setting(
      "fireflies.collectors", \.collectors, .list(of: .collector),
      "Where fireflies go besides the remote ends.",
      flag: "--collector"),
    Setting(
      "fireflies.remoteEnds", \.announcesToRemoteEnds, .bool, "Send fireflies to the flows' remote ends.",
      flag: "--no-remote-fireflies"),
    Setting(
      "fireflies.remotePort", \.remotePort, .port, "The UDP port at the remote ends."),
    Setting(
      "fireflies.privateRemoteEnds", \.announcesToPrivate, .bool,
      "Send fireflies also to remote ends whose address is private, unique local, link-local or loopback."),
    Setting(
      "fireflies.period", \.ongoingPeriod, .fireflyPeriod,
      "How often a flow that goes on is announced, its turns spread over the period.",
      flag: "--firefly-period"),
    Setting(
      "fireflies.enrichment", \.enrichment, .word(),
      "What ongoing and end fireflies tell of TCP connections; see [below](#tcp-in-fireflies)."),
    Setting(
      "fireflies.markAll", \.announcesMarkAll, .bool,
      "With markAll, announce every TCP and connected UDP socket of this host whose remote end is not loopback."
    ),
    Setting(
      "fireflies.skOps", \.skOps, .word(),
      "Where flows that the socket watch found have that: in the object netlink, in skOps besides, or there instead."
    ),
    Setting(
      "publicAddresses", \.publicAddresses, .publicAddresses,
      "Behind NAT: the addresses that fireflies name in place of this host's own."),
    Setting(
      "stun.servers", \.stunServers, .list(of: .stunServer, atMost: 16),
      "STUN servers that are asked for the addresses that publicAddresses lacks, one after the other."),
    Setting(
      "flows.max", \.limits.maxFlows, .maxFlows,
      "The most flows at a time; further ones are refused until others end.", flag: "--max-flows"),
    Setting(
      "flows.idleTimeout", \.limits.idleTimeout, .idleTimeout,
      "A flow that sends nothing for this long has ended, unless its socket is there.", flag: "--idle-timeout"
    ),
    Setting(
      "flows.endWithSocket", \.endsWithSocket, .bool,
      "A TCP flow whose socket on this host closes has ended, whether its source says so or not."),
    Setting(
      "restart.keep", \.keepsMarks, .bool,
      "When the daemon stops or is killed, marks and flows stay in the kernel, and the next daemon goes on with them.",
      flag: "--clean"),
    Setting(
      "restart.graceTime", \.graceTime, .idleTimeout,
      "So long after the daemon has stopped its marks end, if no other daemon has taken over."),
    Setting("log.level", \.logLevel, .word(), "How much is logged.", flag: "--log-level"),
    Setting(
      "log.format", \.logFormat, .word(), "How lines of the log are written.", flag: "--log-format"),
  ]

  static func named(_ path: String) -> Setting? { all.first { $0.path == path } }

  /// What marker.yaml has.
  static let schema = Schema<Settings>(all.map { setting in .init(setting.path, read: setting.read) })
}

extension Settings {
  /// The code points by hand; the preset stays as it is.
  var codePointEntries: CodePointMap {
    get { codePoints }
    set {
      let preset = codePoints.preset
      codePoints = newValue
      codePoints.preset = preset
    }
  }
}
