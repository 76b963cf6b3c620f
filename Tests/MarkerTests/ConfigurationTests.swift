import Firefly
import Flow
import Logging
import Testing
import XDP

@testable import Marker

func configuration(_ text: String) throws -> Configuration {
  var configuration = try Configuration(text: Array(text.utf8), file: "x.yaml")
  try configuration.review()
  return configuration
}

@Suite struct ConfigurationTests {
  @Test func everySettingIsRead() throws {
    let text = """
      interfaces: [eth0, "ens*"]
      discover: defaultRoute
      inline: {inside: none, outside: none, engine: raw, networks: ["2001:db8:7::/48"]}
      strategy: auto
      path: nft
      markAll: cms/Analysis Input
      markAllExcept: {networks: ["2001:db8:5::/48", 10.0.0.0/8], ports: [22, 9000-9010]}
      label:
        entropy: flow
      dscp:
        preset: le
        map: {atlas: 11, 3/14: 15, "3/Data Challenge": none, default: 0}
        ipv6: true
        onlyIfUnset: false
      tc: {hook: clsact, order: after program 7}
      pipes: /run/a
      api:
        listen: ["[2001:db8::1]:7777", /run/api]
        allow: [192.0.2.0/24]
        tokenFile: /etc/marker/token
        rate: 70
      listen:
        fireflies: ["127.0.0.1:999", "[::]:10515", 192.0.2.1, 2001:db8::1]
        from: [192.0.2.0/24, "2001:db8::/32", 10.0.0.1]
        rate: 500
        relay: true
      rules:
        - {experiment: cms, activity: 14, localPorts: [1094, 5200-5210], remote: 192.0.2.0/24, uid: root}
        - exclude: true
          process: [sshd]
      sockets: {cgroup: /sys/fs/cgroup/x, period: 2s}
      fireflies:
        markAll: false
        collectors:
          - c.example.org
          - "[2001:db8::1]:999"
          - {host: 192.0.2.1, port: 1, format: bare}
          - {address: 192.0.2.2, experiments: [cms, 2, atlas]}
        remoteEnds: false
        remotePort: 10515
        period: 5m
        enrichment: compatible
        privateRemoteEnds: true
        skOps: besides
      publicAddresses: {10.0.0.1: 203.0.113.1, "fd00::1": "2001:db8::1"}
      stun: {servers: [stun.example.org, "[2001:db8::5]:999"]}
      flows:
        max: 5_000
        idleTimeout: 90s
        endWithSocket: false
      restart:
        keep: false
        graceTime: 7m
      log:
        level: debug
        format: json
      metrics: {listen: ["[::1]:9464"], allow: [192.0.2.0/24], flows: 9}
      """
    var map = CodePointMap(.le)
    map.experiments[2] = CodePoint(11).map { .codePoint($0) }
    map.tags[SciTag(packed: 206)] = CodePoint(15).map { .codePoint($0) }
    map.tags[try Registry.embedded.tag(experiment: "cms", activity: "Data Challenge")] = .some(.none)
    map.fallback = CodePoint(0).map { .codePoint($0) }
    let want = Settings(
      interfaces: InterfaceSelection(names: ["eth0", "ens*"], discovery: .defaultRoute),
      inline: InlineSettings(engine: .raw, networks: [try Network(text: "2001:db8:7::/48")]), strategy: .auto,
      path: .nft,
      entropy: .flow, codePoints: map, dscpOnIPv6: true, onlyIfUnset: false, tcHook: .clsact,
      tcOrder: .after(.program(7)),
      markAll: SciTag(packed: 206),
      exclusions: Exclusions(
        networks: [try Network(text: "2001:db8:5::/48"), try Network(text: "10.0.0.0/8")],
        ports: [try #require(PortRange(22)), try #require(PortRange(9000, 9010))]),
      rules: [
        SocketRule(
          .tag([SciTag(packed: 206)]),
          localPorts: [try #require(PortRange(1094)), try #require(PortRange(5200, 5210))],
          networks: [try Network(text: "192.0.2.0/24")], users: [SocketRule.User(0, name: "root")]),
        SocketRule(.exclude, processes: ["sshd"]),
      ], sockets: SocketSettings(group: .folder("/sys/fs/cgroup/x"), period: 2_000_000),
      announcesMarkAll: false, pipes: ["/run/a"],
      api: APISettings(
        listen: [.tcp(Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 1), 7777)), .unix("/run/api")],
        allow: [try Network(text: "192.0.2.0/24")], tokenFile: "/etc/marker/token",
        rate: 70,
        metrics: MetricsSettings(
          listen: [Endpoint(try #require(Address("::1")), 9464)], allow: [try Network(text: "192.0.2.0/24")],
          flows: 9)),
      listen: Listening(
        addresses: try [("127.0.0.1", 999), ("::", 10515), ("192.0.2.1", 10514), ("2001:db8::1", 10514)].map {
          Endpoint(try #require(Address($0)), $1)
        }, senders: try ["192.0.2.0/24", "2001:db8::/32", "10.0.0.1/32"].map { try Network(text: $0) },
        rate: 500,
        relays: true),
      collectors: [
        try Collector(host: "c.example.org"), try Collector(host: "2001:db8::1", port: 999),
        try Collector(host: "192.0.2.1", port: 1, format: .bare),
        try Collector(host: "192.0.2.2", experiments: [2, 3]),
      ], announcesToRemoteEnds: false, announcesToPrivate: true, remotePort: 10515,
      ongoingPeriod: 300_000_000, enrichment: .compatible, skOps: .besides,
      publicAddresses: [
        try #require(Address("10.0.0.1")): try #require(Address("203.0.113.1")),
        try #require(Address("fd00::1")): try #require(Address("2001:db8::1")),
      ], stunServers: [try STUNServer("stun.example.org"), try STUNServer("[2001:db8::5]:999")],
      endsWithSocket: false,
      limits: FlowTable.Limits(maxFlows: 5000, idleTimeout: 90_000_000), keepsMarks: false,
      graceTime: 420_000_000,
      logLevel: .debug, logFormat: .json)
    let read = try configuration(text)
    #expect(read.settings == want)
    #expect(read.origin(of: "dscp.map") == .file(line: 12) && read.originText(of: "dscp.map") == "x.yaml:12")
    for setting in Setting.all { #expect(read.origin(of: setting.path) != .builtIn, "\(setting.path)") }
    // What is printed means the same.
    #expect(try configuration(read.text).settings == want)
    #expect(try configuration(read.ownText).settings == want)
  }

  @Test func nothingSaidIsAsByDefault() throws {
    for text in ["", "# nothing", "dscp:\n", "fireflies: {}"] {
      let read = try configuration(text)
      #expect(read.settings == Settings())
      #expect(read.origin(of: "strategy") == .builtIn)
      #expect(read.warnings.contains { $0.message.contains("no interface is named") })
    }
  }

  @Test func everySettingsDefaultIsReadBack() throws {
    for setting in Setting.all {
      var settings = Settings()
      settings.pipes = []
      let node = try #require(try YAMLParser.parse(Array("k: \(setting.defaultText)".utf8)))
      guard case .mapping(let entries) = node.content else { continue }
      try setting.read(entries[0].value, &settings)
      #expect(setting.write(settings) == setting.defaultText, "\(setting.path)")
    }
  }

  /// Each with the line and column, and all that is said.
  @Test(arguments: [
    ("strategi: label", "1:1: unknown key \"strategi\"; did you mean \"strategy\"?"),
    ("dscp:\n  presett: le", "2:3: unknown key \"presett\" in dscp; did you mean \"preset\"?"),
    ("preset: le", "1:1: unknown key \"preset\"; it is known as dscp.preset"),
    ("tc: {zzz: 1}", "1:6: unknown key \"zzz\" in tc; known here: hook, order"),
    (
      "strategy: lable",
      "1:11: strategy: expected label, dscp, auto, hopByHop, destination or hopByHopDestination, not \"lable\"; did you mean \"label\"?"
    ),
    (
      "strategy:",
      "1:10: strategy: expected label, dscp, auto, hopByHop, destination or hopByHopDestination, not nothing"
    ),
    ("path: [tc]", "1:7: path: expected auto, sock, tc, nft, xdp or raw, not a list"),
    ("path: ebpf\ninterfaces: lo", "1:7: path: expected auto, sock, tc, nft, xdp or raw, not \"ebpf\""),
    (
      "interfaces: [eth0, a/b]",
      "1:20: interfaces: expected the name of an interface, 1 to 15 characters, or a pattern such as \"eth*\", not \"a/b\""
    ),
    (
      "interfaces: [abcdefghijklmnop]",
      "1:14: interfaces: expected the name of an interface, 1 to 15 characters, or a pattern such as \"eth*\", not \"abcdefghijklmnop\""
    ),
    (
      "interfaces: {eth0: yes}",
      "1:13: interfaces: expected the name of an interface, 1 to 15 characters, or a pattern such as \"eth*\", not a section"
    ),
    (
      "interfaces:",
      "1:12: interfaces: expected a list, each the name of an interface, or a pattern such as \"eth*\", not nothing"
    ),
    ("discover: yes", "1:11: discover: expected defaultRoute or globalAddress, not \"yes\""),
    (
      "markAll: atlas",
      "1:10: markAll: expected experiment/activity, by number or name, such as atlas/perfsonar or 2/1, not \"atlas\""
    ),
    ("markAll: 2/64", "1:10: markAll: activity 64 is out of range: it is 0 to 63"),
    ("dscp: le", "1:7: expected a section with keys of dscp (preset, map, ipv6, onlyIfUnset), not \"le\""),
    ("dscp:\n  ipv6: yes", "2:9: dscp.ipv6: expected true or false, not \"yes\""),
    ("dscp:\n  ipv6: \"true\"", "2:9: dscp.ipv6: expected true or false, not \"true\""),
    (
      "dscp:\n  map: 2=11",
      "2:8: dscp.map: expected a section of entries such as \"2: 11\", \"3/14: 15\" or \"default: none\", not \"2=11\""
    ),
    (
      "dscp:\n  map:\n    2: 64",
      "3:5: dscp.map: \"2=64\": \"64\" is not a code point: write a number from 0 to 63, or none"
    ),
    ("dscp:\n  map:\n    2: [1]", "3:8: dscp.map: expected a DSCP, 0 to 63, or none, not a list"),
    (
      "dscp:\n  map: {atlas: 1, 2: 3}",
      "2:19: dscp.map: \"2=3\": there is an entry for this already; each may stand once"
    ),
    (
      "listen: {fireflies: [example.org:1]}",
      "1:22: listen.fireflies: expected an address of this host, not a name: address:port or [IPv6 address]:port, not \"example.org:1\""
    ),
    (
      "listen: {fireflies: '127.0.0.1:x'}",
      "1:21: listen.fireflies: address \"127.0.0.1:x\" has port \"x\"; a port is a number from 1 to 65535"
    ),
    (
      "listen: {fireflies: '[fe80::1]'}",
      "1:21: listen.fireflies: fe80::1 is link-local; listen at [::] or at an address that is not"
    ),
    (
      "publicAddresses: {10.0.0.1: \"2001:db8::1\"}",
      "1:29: publicAddresses: 10.0.0.1 and 2001:db8::1 are of two families: NAT keeps the family"
    ),
    (
      "publicAddresses: {\"::ffff:10.0.0.1\": 192.0.2.1, 10.0.0.1: 192.0.2.2}",
      "1:49: publicAddresses: 10.0.0.1 stands twice"
    ),
    (
      "publicAddresses: {eth0: 192.0.2.1}",
      "1:19: publicAddresses: expected the address of a host, not \"eth0\""
    ),
    (
      "stun: {servers: 'stun:stun.example.org'}",
      "1:17: stun.servers: server \"stun:stun.example.org\" has port \"stun.example.org\"; a port is a number from 1 to 65535"
    ),
    ("api: {rate: 0}", "1:13: api.rate: expected a number from 1 to 10000000, not \"0\""),
    (
      "markAllExcept: {ports: [22, 0]}",
      "1:29: markAllExcept.ports: expected a port from 1 to 65535, or a range of ports such as 5201-5300, not \"0\""
    ),
    (
      "fireflies: {collectors: [{host: a, address: b}]}",
      "1:45: fireflies.collectors: address: host and address are the same: name one"
    ),
    (
      "fireflies: {collectors: [{host: a, experiments: []}]}",
      "1:49: fireflies.collectors: experiments: expected experiments, by number or name; leave the key out for all, "
        + "not a list"
    ),
    (
      "listen: {from: 10.0.0.1/8}",
      "1:16: listen.from: 10.0.0.1/8: bits behind the length are set; did you mean 10.0.0.0/8?"
    ),
    ("listen: {rate: 0}", "1:16: listen.rate: expected a number from 1 to 10000000, not \"0\""),
    ("pipes: [run/x]", "1:9: pipes: expected a path from / on, not \"run/x\""),
    (
      "fireflies: {collectors: http://x}",
      "1:25: fireflies.collectors: collector \"http://x\" is a URL; leave out \"http://\", fireflies always go by UDP"
    ),
    (
      "fireflies:\n  collectors:\n  - port: 1",
      "3:5: fireflies.collectors: a collector needs its host: host: NAME"
    ),
    (
      "fireflies:\n  collectors:\n  - {host: a, prot: 1}",
      "3:15: fireflies.collectors: unknown key \"prot\"; did you mean \"port\"?"
    ),
    ("fireflies: {remotePort: 0}", "1:25: fireflies.remotePort: expected a port from 1 to 65535, not \"0\""),
    (
      "api: {listen: localhost}",
      "1:15: api.listen: expected an address and port such as 127.0.0.1:7777 or [::1]:7777, or a path from / on, not \"localhost\""
    ),
    (
      "interfaces: lo\napi: {listen: \"0.0.0.0:7777\"}",
      "2:1: api.listen: 0.0.0.0:7777 is reached from elsewhere: name who may, api.allow: [192.0.2.0/24], or a token, api.tokenFile: /etc/marker/token"
    ),
    (
      "api: {allow: [192.0.2.1/24]}",
      "1:15: api.allow: 192.0.2.1/24: bits behind the length are set; did you mean 192.0.2.0/24?"
    ),
    ("flows: {max: 1e6}", "1:14: flows.max: expected a number from 1 to 16000000, not \"1e6\""),
    (
      "flows: {max: 99999999999999999999}",
      "1:14: flows.max: expected a number from 1 to 16000000, not \"99999999999999999999\""
    ),
    (
      "flows: {idleTimeout: 5x}",
      "1:22: flows.idleTimeout: expected a time such as 90s, 5m, 1h or 1d, from 1s to 365d, not \"5x\""
    ),
    (
      "flows: {idleTimeout: 400d}",
      "1:22: flows.idleTimeout: expected a time such as 90s, 5m, 1h or 1d, from 1s to 365d, not \"400d\""
    ),
    (
      "log: {level: loud}",
      "1:14: log.level: expected trace, debug, info, notice, warning, error or critical, not \"loud\""
    ),
    (
      "strategy: label\nplugins: {api: {}}",
      "2:1: \"plugins\" is flowd-go's, but this file is marker's: it is one or the other; `marker config convert` makes marker's of flowd-go's"
    ),
    (
      "- eth0",
      "1:1: expected lines of the form key: value (interfaces, discover, inline, strategy, path, markAll, markAllExcept, label, dscp, tc, pipes, api, metrics, listen, rules, sockets, fireflies, publicAddresses, stun, flows, restart, log), not a list"
    ),
    ("plugins:\n  namedpipe: {}", "2:3: unknown key \"namedpipe\" in plugins; did you mean \"namedPipe\"?"),
    (
      "backends:\n  marker: {markingStrategy: dscp}",
      "2:29: backends.marker.markingStrategy: expected label, hopByHop, destination or hopByHopDestination, not \"dscp\""
    ),
    (
      "plugins: {perfsonar: {experimentId: 196664}}",
      "1:37: plugins.perfsonar.experimentId: 196664 is the flow label of cms/Analysis Input (206); did you mean experiment 3, activity 14?"
    ),
    (
      "backends: {firefly: {sendToCollector: true, collectorAddress: \"a b\"}}",
      "1:45: backends.firefly: collector \"a b\" has \" \" in its name; names have letters, digits, \"-\", \"_\" and \".\""
    ),
    (
      "pidPath: /x\nstrategy: label",
      "2:1: \"strategy\" is marker's, but this file is flowd-go's: it is one or the other; `marker config convert` makes marker's of flowd-go's"
    ),
  ])
  func everyMistakeHasItsPlaceAndItsRemedy(text: String, want: String) {
    let error = #expect(throws: ConfigurationError.self) { try configuration(text) }
    #expect(error?.description == "x.yaml:\(want)")
  }

  @Test func allMistakesAreToldAtOnce() {
    let error = #expect(throws: ConfigurationError.self) {
      try configuration("flows: {max: x}\nstrategi: label\ninterfaces: [eth0]\npath: ntf\n")
    }
    #expect(error?.problems.map(\.mark.line) == [1, 2, 4])
  }

  /// Settings that do nothing are told of once each.
  @Test(arguments: [
    ("strategy: label\ndscp: {preset: le}", "dscp.preset does nothing: strategy label stamps no DSCP"),
    ("strategy: auto\ndscp: {ipv6: true}", "dscp.ipv6 does nothing: it is for strategy dscp"),
    (
      "strategy: dscp\nlabel: {entropy: flow}",
      "label.entropy does nothing: strategy dscp stamps no flow label"
    ),
    ("path: nft\ntc: {hook: tcx}", "tc.hook does nothing with path nft"),
    (
      "fireflies: {remoteEnds: false, remotePort: 1}",
      "fireflies.remotePort does nothing: fireflies.remoteEnds is false"
    ),
    ("fireflies: {markAll: false}", "fireflies.markAll does nothing: markAll is none"),
    ("sockets: {period: 2s}", "sockets.period does nothing: there are no rules"),
    (
      "rules: [{tags: [2/1]}, {exclude: true, localPorts: 22}]",
      "rule 1 has no condition: those behind it do nothing"
    ),
    ("markAll: 600/1", "600/1 has no mark on IPv6: only flows with other tags are marked there"),
  ])
  func whatDoesNothingIsToldOf(text: String, want: String) throws {
    let read = try configuration("\(text)\ninterfaces: [eth0]")
    #expect(read.warnings.filter { $0.message == want }.count == 1, "\(read.warnings)")
    #expect(try configuration("interfaces: [eth0]").warnings.isEmpty)
  }

  @Test func filesThatAreNone() throws {
    for (path, why) in [
      ("/nope/x", "No such file"), ("/tmp", "Is a directory"), ("/dev/zero", "Invalid argument"),
    ] {
      let error = #expect(throws: ConfigurationError.self) { try Configuration(file: path) }
      #expect(error?.description.contains("\(path): cannot be read: \(why)") == true)
    }
  }
}
