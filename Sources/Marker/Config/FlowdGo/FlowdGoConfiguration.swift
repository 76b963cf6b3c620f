import Firefly
import Flow

/// What flowd-go's conf.yaml says, as far as it means something here. The defaults are flowd-go's.
struct FlowdGoConfiguration: Sendable {
  var pipe = "/var/run/flowd-go/np"
  var apiAddress = "127.0.0.1"
  var apiPort: UInt16 = 7777
  var experiment: UInt16 = 0
  var activity: UInt8 = 0
  /// Ports of plugins.iperf3; 0 is no bound.
  var sourcePorts = PortBounds()
  var destinationPorts = PortBounds()
  /// The tags of its flows, the first activity with the first experiment and so on.
  var flowExperiments: [UInt16] = [0, 1, 2]
  var flowActivities: [UInt8] = [0, 1, 2]
  var group = "/sys/fs/cgroup"
  var interfaces: [String] = ["lo"]
  var discoversInterfaces = false
  var strategy = Strategy.label
  var matchesAll = false
  var remotePort = Collector.defaultPort
  var prependsSyslog = true
  var sendsToCollector = false
  var collectorHost = "127.0.0.1"
  var collectorPort = Collector.defaultPort
  /// Of plugins.firefly and plugins.fireflyp, which are one.
  var listeningAddress = Address(ipv4: 0x7f00_0001)
  var listeningPort = Collector.defaultPort
  var receivers: [Collector] = []
  var enriches = false
  var metricsAddress = Address(ipv4: 0x7f00_0001)
  var metricsPort: UInt16 = 8080
  /// As in the file; which is the local one is another question.
  var addressPairs: [Address: Address] = [:]
  var stunServers: [STUNServer] = []
  var enrichment = Enrichment.lean
  /// Milliseconds.
  var enrichmentPeriod: Int64 = 1000

  /// As flowd-go has them: both inclusive, 0 for none.
  struct PortBounds: Sendable {
    var least: UInt16 = 0
    var most: UInt16 = 0

    /// None where nothing is bounded; nil where the two are the wrong way round.
    var ranges: [PortRange]? {
      guard least != 0 || most != 0 else { return [] }
      return PortRange(max(least, 1), most == 0 ? .max : most).map { [$0] }
    }
  }

  /// Whether a document is of flowd-go's kind, by the first key that either kind has.
  static func isMeant(by root: YAMLNode) -> Bool {
    guard case .mapping(let entries) = root.content else { return false }
    let first = entries.first { schema.hasTopLevel($0.key) || Setting.schema.hasTopLevel($0.key) }
    return first.map { schema.hasTopLevel($0.key) } ?? false
  }
}
