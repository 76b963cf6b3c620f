import ArgumentParser
import Flow

/// The options that say which packets are shown.
struct SniffFilters: ParsableArguments {
  @Option(help: "Only this experiment, by number or name.")
  var experiment: String?

  @Option(help: "Only this activity, by number, or by name with --experiment.")
  var activity: String?

  @Option(
    help: ArgumentHelp(
      "Only packets from or to this address or network. Repeat for several.", valueName: "network"),
    transform: { try ValueType<Network>.network.argument($0) })
  var net: [Network] = []

  @Option(
    help: ArgumentHelp(
      "Only packets from or to this port or range, 5201-5300. Repeat for several.", valueName: "ports"))
  var port: [String] = []

  @Option(name: .customLong("protocol"), help: "Only tcp, udp, sctp, icmp, icmp6 or a protocol's number.")
  var transport: String?

  @Flag(name: .customShort("4"), help: "Only IPv4.")
  var onlyIPv4 = false

  @Flag(name: .customShort("6"), help: "Only IPv6.")
  var onlyIPv6 = false

  @Flag(help: "Only packets with a mark.")
  var marked = false

  @Flag(help: "Only packets without a mark.")
  var unmarked = false

  func validate() throws {
    guard !(marked && unmarked) else { throw ValidationError("no packet is both --marked and --unmarked") }
    guard !(onlyIPv4 && onlyIPv6) else { throw ValidationError("no packet is both -4 and -6") }
  }

  func filter(_ registry: Registry) throws -> SniffFilter {
    var filter = SniffFilter()
    do throws(SciTagError) {
      if let experiment { filter.experiment = try registry.experiment(experiment) }
      if let activity { filter.activity = try registry.activity(activity, of: filter.experiment ?? 0) }
    } catch .unknownActivity where experiment == nil {
      throw ValidationError("--activity by name needs --experiment: the same number means different things")
    } catch {
      throw ValidationError("\(error)")
    }
    return try rest(filter)
  }

  private func rest(_ filter: SniffFilter) throws -> SniffFilter {
    var filter = filter
    filter.networks = net
    filter.ports = try port.map { text in
      guard let range = PortRange(text) else {
        throw ValidationError("--port is a port, 1 to 65535, or a range such as 5201-5300, not \(text)")
      }
      return range
    }
    if onlyIPv4 { filter.families = .ipv4 }
    if onlyIPv6 { filter.families = .ipv6 }
    if marked { filter.wanted = .marked }
    if unmarked { filter.wanted = .unmarked }
    if let transport {
      // IANA's numbers of those that have no ports: RFC 792, RFC 4443.
      let names: [String: UInt8] = ["icmp": 1, "icmp6": 58]
      guard
        let number = TransportProtocol.allCases.first(where: { $0.name == transport.lowercased() })?.rawValue
          ?? names[transport.lowercased()] ?? UInt8(transport)
      else {
        throw ValidationError(
          "--protocol is tcp, udp, sctp, icmp, icmp6 or a number up to 255, not \(transport)")
      }
      filter.transport = number
    }
    return filter
  }
}

/// By which registry and which map of code points marks are read.
struct TagOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Name tags by this registry, a file as scitags.org serves it.", valueName: "file"))
  var registry: String?

  @Option(
    help: ArgumentHelp("Read DSCPs by this map: 2=11,3/14=15,default=none.", valueName: "map"),
    transform: { text in try CodePointMap(adding: text) })
  var dscpMap: CodePointMap?

  @Option(help: "Read DSCPs that are not in the map by this preset: `pool2`, `le` or `none`.")
  var dscpPreset = CodePointMap.Preset.pool2

  func names() throws -> MarkNames {
    var map = dscpMap ?? CodePointMap()
    map.preset = dscpPreset
    return MarkNames(try RegistryFile.inUse(registry).registry, map)
  }
}
