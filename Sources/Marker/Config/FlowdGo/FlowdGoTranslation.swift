import Firefly
import Flow

extension Configuration {
  /// What flowd-go's conf.yaml means here.
  init(flowdGo root: YAMLNode, file: String) throws(ConfigurationError) {
    self.file = file
    var said = FlowdGoConfiguration()
    let reading = FlowdGoConfiguration.schema.read(root, into: &said)
    if let problem = Self.mixture(root, Setting.schema, "marker's", "flowd-go's") {
      throw ConfigurationError(file, [problem])
    }
    var problems = reading.problems

    takePipes(said, reading)
    takeAPI(said, reading, &problems)
    takeMarker(said, reading)
    takePerfsonar(said, reading, &problems)
    takeRules(said, reading, &problems)
    takeFireflies(said, reading, &problems)
    takeListener(said, reading)
    takeEnrichment(said, reading)
    takePublicAddresses(said, reading, &problems)
    takeMetrics(said, reading)
    guard problems.isEmpty else { throw ConfigurationError(file, problems) }

    for (path, reason) in FlowdGoConfiguration.reasons {
      if let mark = reading.places[path] {
        warnings.append(Warning(mark: mark, message: "\(path) does nothing here: \(reason)"))
      }
    }
    warnings.sort { ($0.mark?.line ?? 0) < ($1.mark?.line ?? 0) }
  }

  typealias Reading = Schema<FlowdGoConfiguration>.Reading

  /// The line that says it, else what flowd-go does without.
  func origin(_ reading: Reading, _ paths: String...) -> Origin {
    for path in paths { if let mark = reading.places[path] { return .file(line: mark.line) } }
    return .flowdGo
  }

  /// flowd-go reads a pipe only where its plugin is named.
  private mutating func takePipes(_ said: FlowdGoConfiguration, _ reading: Reading) {
    settings.pipes = reading.places["plugins.namedPipe"] == nil ? [] : [said.pipe]
    set(origin(reading, "plugins.namedPipe.pipePath", "plugins.namedPipe"), of: "pipes")
  }

  /// Without the plugin the API is where marker has it by default.
  private mutating func takeAPI(
    _ said: FlowdGoConfiguration, _ reading: Reading, _ problems: inout [YAMLProblem]
  ) {
    guard let mark = reading.places["plugins.api"] else { return }
    guard let address = Address(said.apiAddress) else {
      let mark = reading.places["plugins.api.bindAddress"] ?? mark
      problems.append(
        YAMLProblem(mark, "plugins.api.bindAddress: expected an IP address, not \"\(said.apiAddress)\""))
      return
    }
    let own = APISettings.usual.filter { if case .unix = $0 { true } else { false } }
    settings.api.listen = [.tcp(Endpoint(address, said.apiPort))] + own
    set(.file(line: mark.line), of: "api.listen")
  }

  /// flowd-go marks only where its backend is named.
  private mutating func takeMarker(_ said: FlowdGoConfiguration, _ reading: Reading) {
    guard let mark = reading.places["backends.marker"] else {
      set(.flowdGo, of: "interfaces")
      return
    }
    settings.interfaces.names = said.interfaces
    set(origin(reading, "backends.marker.targetInterfaces"), of: "interfaces")
    if said.discoversInterfaces {
      settings.interfaces.discovery = .globalAddress
      set(origin(reading, "backends.marker.discoverInterfaces"), of: "discover")
      // flowd-go's own default is no wish of the operator's.
      if reading.places["backends.marker.targetInterfaces"] == nil { settings.interfaces.names = [] }
    } else if reading.places["backends.marker.targetInterfaces"] == nil {
      warnings.append(
        Warning(
          mark: mark,
          message:
            "backends.marker names no targetInterfaces: only lo is marked on, which is flowd-go's default"))
    }
    settings.strategy = said.strategy
    if let mark = reading.places["backends.marker.markingStrategy"] {
      set(.file(line: mark.line), of: "strategy")
    }
  }

  private mutating func takePerfsonar(
    _ said: FlowdGoConfiguration, _ reading: Reading, _ problems: inout [YAMLProblem]
  ) {
    guard let mark = reading.places["plugins.perfsonar"] else {
      if said.matchesAll, let mark = reading.places["backends.marker.matchAll"] {
        warnings.append(
          Warning(
            mark: mark,
            message:
              "backends.marker.matchAll does nothing here: no plugins.perfsonar says which tag all packets have"
          ))
      }
      return
    }
    do throws(SciTagError) {
      let tag = try SciTag(experiment: Int(said.experiment), activity: Int(said.activity))
      guard tag.namesExperiment else {
        warnings.append(
          Warning(
            mark: mark,
            message: "plugins.perfsonar has experiment 0, which names none: nothing is marked by it"))
        return
      }
      settings.markAll = tag
      set(.file(line: mark.line), of: "markAll")
    } catch {
      problems.append(YAMLProblem(mark, "plugins.perfsonar: \(error)"))
    }
  }

  /// flowd-go sends fireflies only where its backend is named, then always to the remote ends.
  private mutating func takeFireflies(
    _ said: FlowdGoConfiguration, _ reading: Reading, _ problems: inout [YAMLProblem]
  ) {
    settings.announcesToRemoteEnds = reading.places["backends.firefly"] != nil
    set(origin(reading, "backends.firefly"), of: "fireflies.remoteEnds")
    guard settings.announcesToRemoteEnds else { return }
    settings.remotePort = said.remotePort
    if let mark = reading.places["backends.firefly.destinationPort"] {
      set(.file(line: mark.line), of: "fireflies.remotePort")
    }
    if !said.prependsSyslog, let mark = reading.places["backends.firefly.prependSyslog"] {
      warnings.append(
        Warning(
          mark: mark,
          message:
            "backends.firefly.prependSyslog is taken as true: the reference collector drops fireflies without "
            + "a syslog header (in marker's own configuration a collector has format: bare)"))
    }
    guard said.sendsToCollector else {
      for path in ["collectorAddress", "collectorPort"].map({ "backends.firefly.\($0)" }) {
        guard let mark = reading.places[path] else { continue }
        warnings.append(
          Warning(mark: mark, message: "\(path) does nothing here: sendToCollector is not true"))
      }
      return
    }
    let mark =
      reading.places["backends.firefly.collectorAddress"]
      ?? reading.places["backends.firefly.sendToCollector"]
    do throws(CollectorError) {
      settings.collectors = [try Collector(host: said.collectorHost, port: said.collectorPort)]
      if let mark { set(.file(line: mark.line), of: "fireflies.collectors") }
    } catch {
      problems.append(YAMLProblem(mark ?? SourceMark(line: 1, column: 1), "backends.firefly: \(error)"))
    }
  }

  /// flowd-go serves metrics where its backend is named.
  private mutating func takeMetrics(_ said: FlowdGoConfiguration, _ reading: Reading) {
    guard let mark = reading.places["backends.prometheus"] else { return }
    settings.api.metrics.listen = [Endpoint(said.metricsAddress, said.metricsPort)]
    set(.file(line: mark.line), of: "metrics.listen")
  }

  /// flowd-go listens where its plugin is named. Its receivers are collectors here.
  private mutating func takeListener(_ said: FlowdGoConfiguration, _ reading: Reading) {
    guard let mark = reading.places["plugins.firefly"] ?? reading.places["plugins.fireflyp"] else { return }
    settings.listen.addresses = [Endpoint(said.listeningAddress, said.listeningPort)]
    set(.file(line: mark.line), of: "listen.fireflies")
    let receivers = ["firefly", "fireflyp"].compactMap { reading.places["plugins.\($0).fireflyReceivers"] }
    guard let place = receivers.first, !said.receivers.isEmpty else { return }
    settings.listen.relays = true
    set(.file(line: place.line), of: "listen.relay")
    for receiver in said.receivers where !settings.collectors.contains(receiver) {
      settings.collectors.append(receiver)
    }
    set(.file(line: place.line), of: "fireflies.collectors")
  }
}
