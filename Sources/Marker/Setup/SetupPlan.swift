import Firefly
import Flow
import Glibc
import Linux

/// What the operator asks of `marker setup`; what is not said is kept or found out.
struct SetupWishes {
  /// By number or name; "none" for no mark on what belongs to no tagged flow.
  var experiment: String?
  var activity: String?
  var interfaces: [String] = []
  var collectors: [Collector] = []
  var hasNoCollector = false
  /// Hear this host's own fireflies at this port, and send them on.
  var relayPort: UInt16?
}

/// The configuration that `marker setup` writes, and where its parts come from.
struct SetupPlan {
  /// The collector of the SciTags project, which the helper of OSG for flowd-go has too.
  static let usualCollector = "global.scitags.org"
  /// perfSONAR, for every experiment of the registry.
  static let usualActivity = "2"

  private(set) var configuration: Configuration
  /// Why it is as it is, a sentence each.
  private(set) var notes: [String] = []
  /// Nobody has said or configured what is to be marked.
  let isFresh: Bool
  private let root: String

  /// Begins with what is configured: marker's own file, else flowd-go's.
  ///
  /// - Parameter root: where the host's files are; empty for this host's.
  init(root: String) throws(ConfigurationError) {
    self.root = root
    let (own, foreign) = (root + Configuration.defaultFile, root + Configuration.flowdGoFile)
    var found = Configuration()
    if access(own, F_OK) == 0 { found = try Configuration(file: own) }
    if found.saysSomething {
      notes.append("\(own) is the base: what is not asked for stays as it is")
    } else if access(foreign, F_OK) == 0 {
      found = try Configuration(file: foreign)
      notes.append("flowd-go's \(foreign) is taken over")
    }
    isFresh = !found.saysSomething
    configuration = found
    // Once written it is marker's own, whoever's default it was.
    for setting in Setting.all where found.origin(of: setting.path) == .flowdGo {
      configuration.set(.flag("flowd-go"), of: setting.path)
    }
  }

  /// Lays the wishes over it.
  mutating func apply(_ wishes: SetupWishes) throws {
    try tag(wishes)
    try selectInterfaces(wishes.interfaces)
    if wishes.hasNoCollector {
      set("fireflies.collectors", "--no-collector") { $0.collectors = [] }
    } else if !wishes.collectors.isEmpty {
      set("fireflies.collectors", "--collector") { $0.collectors = wishes.collectors }
    } else if isFresh {
      let collector = try Collector(Self.usualCollector)
      set("fireflies.collectors", "--collector") { $0.collectors = [collector] }
      notes.append(
        "fireflies go to \(collector), the collector of the SciTags project (--collector, --no-collector)")
    }
    if let port = wishes.relayPort {
      set("listen.fireflies", "--relay-port") {
        $0.listen.addresses = [Endpoint(Address(ipv4: 0x7f00_0001), port)]
      }
      set("listen.relay", "--relay-port") { $0.listen.relays = true }
    }
    try configuration.review()
  }

  private mutating func tag(_ wishes: SetupWishes) throws {
    guard let experiment = wishes.experiment else {
      guard wishes.activity == nil else { throw SetupError.activityAlone }
      return
    }
    if experiment.lowercased() == "none" {
      set("markAll", "--experiment") { $0.markAll = nil }
      return
    }
    let tag = try Registry.embedded.tag(
      experiment: experiment, activity: wishes.activity ?? Self.usualActivity)
    set("markAll", "--experiment") { $0.markAll = tag }
    notes.append("everything that leaves is marked as \(Registry.embedded.name(of: tag)), SciTag \(tag)")
  }

  private mutating func selectInterfaces(_ names: [String]) throws(SetupError) {
    if !names.isEmpty {
      set("interfaces", "--interfaces") { $0.interfaces.names = names }
      return
    }
    guard !configuration.settings.marksPackets else { return }
    let (found, source) = Self.find(root: root)
    guard !found.isEmpty else { throw SetupError.noInterfaceFound }
    set("interfaces", "--interfaces") { $0.interfaces.names = found }
    notes.append("interfaces \(found.joined(separator: ", ")): \(source)")
  }

  /// What perfSONAR's file names, else what default routes lead through, else the first that is up.
  private static func find(root: String) -> (names: [String], source: String) {
    let named = MultiNICFile.interfaces(root: root)
    if !named.isEmpty { return (named, "\(root)\(MultiNICFile.path) names them") }
    // Another root's network is not to be seen from here.
    guard root.isEmpty, let all = try? InterfaceDetails.all() else { return ([], "") }
    let routed = (try? DefaultRoutes.interfaces()) ?? []
    let outward = all.filter { routed.contains($0.interface.index) }.map(\.interface.name)
    if !outward.isEmpty { return (outward, "default routes lead through them") }
    let first = all.first { $0.isUp && !$0.interface.isLoopback }
    return (first.map { [$0.interface.name] } ?? [], "the first that is up; there is no default route")
  }

  private mutating func set(_ path: String, _ flag: String, _ change: (inout Settings) -> Void) {
    change(&configuration.settings)
    configuration.set(.flag(flag), of: path)
  }

  /// The file's text. The same for the same configuration, so that a second setup finds nothing to do.
  var text: String {
    "# Written by marker setup; marker.yaml(5) explains every setting.\n" + configuration.ownText
  }
}

extension Configuration {
  /// Whether a file sets anything at all.
  var saysSomething: Bool { Setting.all.contains { origin(of: $0.path) != .builtIn } }
}
