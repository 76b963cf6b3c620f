import Firefly
import Flow
import Testing

@testable import Marker

@Suite struct FlowdGoTests {
  private func fixture(_ name: String) throws -> Configuration {
    let place = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    var configuration = try Configuration(file: "/\(place)/Fixtures/configs/\(name)")
    try configuration.review()
    return configuration
  }

  private func warned(_ configuration: Configuration) -> [String] {
    configuration.warnings.map { "\($0.mark?.line ?? 0) \($0.message.prefix { $0 != " " })" }
  }

  @Test func theShippedDefaultSetsNothing() throws {
    #expect(try fixture("flowd-go-default-conf.yaml").settings == Settings())
  }

  @Test func announcesOnlyWithoutAMarkerBackend() throws {
    let read = try fixture("flowd-go-iperf3.yaml")
    #expect(
      read.settings
        == Settings(
          collectors: [try Collector(host: "2001:720:420:c002::a", port: 10515)], ongoingPeriod: nil,
          publicAddresses: [Address(ipv4: 0x0a00_0001): try #require(Address("150.244.247.148"))]))
    #expect(
      warned(read) == [
        "20 backends.firefly.prependSyslog", "25 backends.firefly.enrichmentMode", "0 no",
      ])
    #expect(read.origin(of: "publicAddresses") == .file(line: 27))
  }

  @Test func perfsonarWithoutAnExperiment() throws {
    let read = try fixture("flowd-go-perfsonar.yaml")
    #expect(
      read.settings
        == Settings(
          interfaces: InterfaceSelection(names: ["eno1"]), strategy: .hopByHopDestination, pipes: [],
          announcesToRemoteEnds: false))
    #expect(warned(read) == ["2 plugins.perfsonar", "10 backends.marker.debugMode"])
  }

  @Test func theOSGHelpersFile() throws {
    let read = try fixture("osg-htc-perfsonar.yaml")
    #expect(
      read.settings
        == Settings(
          interfaces: InterfaceSelection(names: ["eth0", "eth1"]),
          markAll: try SciTag(experiment: 2, activity: 2),
          pipes: [], collectors: [try Collector(host: "global.scitags.org")], ongoingPeriod: 60_000_000,
          enrichment: .lean, skOps: .besides))
    #expect(
      warned(read) == [
        "11 backends.firefly.prependSyslog", "16 backends.marker.forceHookRemoval",
        "20 enrichers.netlink",
      ])
    #expect(read.origin(of: "fireflies.period") == .file(line: 19))
    #expect(read.origin(of: "pipes") == .flowdGo && read.origin(of: "interfaces") == .file(line: 14))
  }

  /// A file with every key that flowd-go has is taken, and what is made of it means the same.
  @Test func everyKey() throws {
    let read = try configuration(
      """
      pidPath: /run/p
      workDir: /var/cache/flowd-go
      plugins:
        namedPipe: {maxReaders: 5, buffSize: 1000, pipePath: /run/np}
        firefly: {bindAddress: 127.0.0.1, bindPort: 10514, bufferSize: 2, deadline: 0, hasSyslogHeader: false}
        fireflyp: {bindAddress: "::", bufferSize: 2, deadline: 0, hasSyslogHeader: true,
          fireflyReceivers: [{address: a.example.org, port: 10514}, {address: "2001:db8::9"}]}
        api: {bindAddress: 127.0.0.1, bindPort: 7777}
        perfsonar: {activityID: 14, experimentID: cms}
        iperf3: {minSourcePort: 1, maxSourcePort: 2, minDestinationPort: 3, maxDestinationPort: 4, cgroupPath: /c,
          programPath: "", debugMode: false, randomIDs: false, activityIDs: [0], experimentIDs: [0]}
      backends:
        marker: {discoverInterfaces: true, removeQdisc: true, programPath: "", markingStrategy: LABEL, matchAll: true,
          debugMode: false, forceHookRemoval: true}
        firefly:
          destinationPort: 10515
          prependSyslog: true
          sendToCollector: false
          collectorAddress: 127.0.0.1
          collectorPort: 10514
          enrich: false
          enrichmentMode: ""
          stun: {manualMapping: {10.0.0.1: 192.0.2.1}, stunServers: [a]}
        prometheus: {log: true, bindAddress: 127.0.0.1, netlinkPort: 8080, skopsPort: 8081}
      enrichers:
        period: 1000
        netlink: {protocol: 6, ext: 255, state: 3071}
        skops: {cgroupPath: /sys/fs/cgroup, programPath: "", debugMode: false, strategy: poll}
      """)
    #expect(
      read.settings
        == Settings(
          interfaces: InterfaceSelection(discovery: .globalAddress), markAll: SciTag(packed: 206),
          rules: [
            SocketRule(
              .tag([SciTag(packed: 0)]), localPorts: [try #require(PortRange(1, 2))],
              remotePorts: [try #require(PortRange(3, 4))], transports: [.tcp])
          ], sockets: SocketSettings(group: .folder("/c")),
          pipes: ["/run/np"],
          api: APISettings(
            listen: [.tcp(Endpoint(Address(ipv4: 0x7f00_0001), 7777)), .unix("/run/marker/api.sock")],
            metrics: MetricsSettings(listen: [Endpoint(Address(ipv4: 0x7f00_0001), 8080)])),
          listen: Listening(addresses: [Endpoint(.unspecified, 10514)], relays: true),
          collectors: [try Collector(host: "a.example.org"), try Collector(host: "2001:db8::9")],
          remotePort: 10515, ongoingPeriod: nil,
          publicAddresses: [Address(ipv4: 0x0a00_0001): Address(ipv4: 0xc000_0201)],
          stunServers: [try STUNServer("a")]))
    let reasons = FlowdGoConfiguration.reasons.map(\.path)
    let unused =
      ["collectorAddress", "collectorPort", "enrichmentMode"].map { "backends.firefly.\($0)" }
      + ["enrichers.period", "listen.fireflies", "plugins.iperf3"]
    #expect(Set(warned(read).map { String($0.drop { $0 != " " }.dropFirst()) }) == Set(reasons + unused))
    #expect(Set(warned(read)).count == warned(read).count, "each once")
    #expect(try configuration(read.ownText).settings == read.settings)
  }

  @Test(arguments: [
    ("enrich: true", "", Enrichment.lean, 60_000_000 as Int64?),
    ("enrich: true, enrichmentMode: compatible", "enrichers: {netlink: {}}", .compatible, 1_000_000),
    ("enrich: true, enrichmentMode: \"\"", "enrichers: {period: 1500, netlink: {}}", .full, 2_000_000),
    ("enrich: false, enrichmentMode: lean", "enrichers: {period: 1500, netlink: {}}", .none, nil),
  ])
  func enrichment(firefly: String, enrichers: String, mode: Enrichment, period: Int64?) throws {
    let read = try configuration("backends:\n  firefly: {\(firefly)}\n\(enrichers)\n")
    #expect(read.settings.enrichment == mode && read.settings.ongoingPeriod == period)
    #expect(try configuration(read.ownText).settings == read.settings)
  }

  /// The private address is the local one; where that says nothing, the order is that of flowd-go's example.
  @Test(arguments: [
    ("150.244.247.148: 10.0.0.1", "10.0.0.1", "150.244.247.148", false),
    ("10.0.0.1: 150.244.247.148", "10.0.0.1", "150.244.247.148", false),
    ("\"fd00::1\": \"2001:db8::1\"", "fd00::1", "2001:db8::1", false),
    ("192.0.2.1: 192.0.2.2", "192.0.2.2", "192.0.2.1", true),
    ("10.0.0.1: 10.0.0.2", "10.0.0.2", "10.0.0.1", true),
  ])
  func manualMapping(entry: String, local: String, name: String, isWarned: Bool) throws {
    let read = try configuration("backends:\n  firefly: {stun: {manualMapping: {\(entry)}}}\n")
    #expect(read.settings.publicAddresses == [try #require(Address(local)): try #require(Address(name))])
    #expect(
      read.warnings.contains { $0.message.contains("the local address \(local) is announced as \(name)") }
        == isWarned)
    #expect(try configuration(read.ownText).settings == read.settings)
  }

  @Test(arguments: [
    ("netlink: {}", SkOps.none), ("skops: {}", .instead), ("netlink: {}, skops: {strategy: poll}", .besides),
    ("period: 1000", .none),
  ])
  func skOps(enrichers: String, want: SkOps) throws {
    let read = try configuration("backends:\n  firefly: {enrich: true}\nenrichers: {\(enrichers)}\n")
    #expect(read.settings.skOps == want)
    #expect(try configuration(read.ownText).settings == read.settings)
  }

  @Test(arguments: ["flowd-go-iperf3.yaml", "flowd-go-perfsonar.yaml", "osg-htc-perfsonar.yaml"])
  func whatIsConvertedMeansTheSame(name: String) throws {
    let read = try fixture(name)
    #expect(try configuration(read.ownText).settings == read.settings)
  }

  @Test func emptySectionsAndKeysSayNothing() throws {
    let read = try configuration(
      "plugins:\n  namedPipe:\nbackends:\n  marker:\n  firefly: {destinationPort: }\n")
    #expect(read.settings == Settings(pipes: [], ongoingPeriod: nil))
    let marked = try configuration("backends:\n  marker: {}\n")
    #expect(
      marked.settings
        == Settings(interfaces: InterfaceSelection(names: ["lo"]), pipes: [], announcesToRemoteEnds: false))
    #expect(warned(marked) == ["2 backends.marker"])
  }

  @Test func portsAreARule() throws {
    func read(_ plugin: String) throws -> Configuration {
      try configuration("plugins:\n  iperf3: {\(plugin)}\nbackends:\n  firefly: {}\n")
    }
    let plain = try read(
      "minSourcePort: 2340, maxSourcePort: 2350, minDestinationPort: 5200, randomIDs: true, activityIDs: [17, 14], "
        + "experimentIDs: [atlas, 3], cgroupPath: /sys/fs/cgroup")
    #expect(
      plain.settings.rules == [
        SocketRule(
          .tag([SciTag(packed: 145), SciTag(packed: 206)]), localPorts: [try #require(PortRange(2340, 2350))],
          remotePorts: [try #require(PortRange(5200, 65535))], transports: [.tcp])
      ])
    #expect(plain.settings.sockets == SocketSettings() && plain.origin(of: "rules") == .file(line: 2))
    #expect(try configuration(plain.ownText).settings == plain.settings)
    let any = try read("randomIDs: false")
    #expect(any.settings.rules.map(\.verdict) == [.tag([0, 65, 130].map { SciTag(packed: $0) })])
    #expect(warned(any).contains("2 plugins.iperf3"))
    for (wrong, why) in [
      ("activityIDs: [1]", "there are 1 activityIDs and 3 experimentIDs"),
      ("minSourcePort: 5, maxSourcePort: 4", "maxSourcePort is less than minSourcePort"),
      ("minDestinationPort: 70000", "a port, or 0 for no bound, from 0 to 65535"),
      ("experimentIDs: [1, 2, 196664]", "is the flow label of cms/Analysis Input"),
    ] {
      let error = #expect(throws: ConfigurationError.self) { try read(wrong) }
      #expect(
        error?.description.hasPrefix("x.yaml:2:") == true && error?.description.contains(why) == true,
        "\(wrong)")
    }
  }

  @Test func aListenerForOthersIsWarnedOf() throws {
    func listening(_ plugin: String) throws -> Configuration {
      try configuration("plugins:\n  \(plugin)\nbackends:\n  firefly: {}\n")
    }
    let plain = try listening("firefly: {bindPort: 10515}")
    #expect(plain.settings.listen == Listening(addresses: [try #require(endpoint("127.0.0.1", 10515))]))
    #expect(warned(plain) == ["0 no"], "no interface")
    let open = try listening("fireflyp: {bindAddress: \"\"}")
    #expect(open.settings.listen == Listening(addresses: [Endpoint(.unspecified, 10514)]))
    #expect(warned(open).contains("2 listen.fireflies"), "\(warned(open))")
    for wrong in ["firefly: {bindAddress: eth0}", "firefly: {fireflyReceivers: [{port: 1}]}"] {
      #expect(throws: ConfigurationError.self) { try listening(wrong) }
    }
  }

  private func endpoint(_ address: String, _ port: UInt16) -> Endpoint? {
    Address(address).map { Endpoint($0, port) }
  }
}
