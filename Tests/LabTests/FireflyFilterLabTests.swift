import Flow
import Glibc
import Lab
import Linux
import Testing

/// Who gets which firefly: collectors of some experiments, and private remote ends.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct FireflyFilterLabTests {
  /// Relaying does not wait for the table, so the mark may come after the firefly.
  private func becomes(_ pair: VethPair, _ flow: Conversation, labelled: Bool) throws -> Bool {
    for _ in 0..<60 {
      let capture = try Capture("far0", in: pair.far)
      try flow.near.send([1])
      let labels = try capture.frames(quiet: 50).of(flow.key).map { $0.flowLabel & ~FlowLabel.entropyMask }
      if !labels.isEmpty, (labels == [0x30038]) == labelled { return true }
    }
    return false
  }

  /// From the firefly that comes in to the mark on the wire and the fireflies that go out, relayed or not.
  @Test(arguments: [true, false]) func collectorsOfTheirExperiments(relays: Bool) throws {
    let pair = try VethPair()
    let ears = try [20000, 20001, 20002].map { try Peer(pair, port: $0) }
    try pair.far.shell("ip addr add 2001:db8::77/64 dev far0 nodad")
    let peer = try Peer(pair, address: "2001:db8::77")
    let far = VethPair.far6
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: """
        interfaces: [near0]
        pipes: [PIPE]
        fireflies:
          remoteEnds: false
          collectors:
            - "[\(far)]:20000"
            - {host: "\(far)", port: 20001, experiments: [cms]}
            - {address: "\(far)", port: 20002, experiments: [atlas, 16]}
        listen: {fireflies: "[::]:10514", from: "2001:db8::/64", relay: \(relays)}
        """, in: pair.near)
    for agent in Agent.allCases {
      let flow = try Conversation.udp(pair)
      for state in ["start", "end"] {
        try peer.send(agent.firefly(state, flow.key.local, flow.key.remote, "udp"))
        #expect(try ears[0].heard(atLeast: 1, quiet: 100).count == 1, "\(agent) \(state) \(marker.log)")
        #expect(try ears[1].heard(atLeast: 1, quiet: 20).count == 1)
        #expect(try becomes(pair, flow, labelled: state == "start"))
      }
    }
    #expect(try ears[2].heard(quiet: 20).isEmpty, "cms is not among its experiments")
    for (port, tag) in [(1, "2 17"), (2, "3 14"), (3, "16 1"), (4, "1 1")] {
      try marker.tell("start udp \(VethPair.near6) \(port) \(far) 9 \(tag)\n")
    }
    func ports(_ ear: Peer, _ count: Int) throws -> [String] {
      try ear.heard(atLeast: count).compactMap { $0.firstMatch(of: /"src-port":(\d+)/).map { String($0.1) } }
    }
    #expect(try ports(ears[0], 4) == ["1", "2", "3", "4"])
    #expect(try ports(ears[1], 1) == ["2"])
    #expect(try ports(ears[2], 2) == ["1", "3"])
    #expect(marker.stop() == 0)
  }

  /// Every payload that was captured of others, relayed to collectors of all, of one and of two experiments.
  @Test func allThatOthersSend() throws {
    let folder =
      "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/") + "/Fixtures/fireflies"
    var payloads = try shell("cat '\(folder)/relayed-flowd-2022.log'").split(separator: "\n").map(String.init)
    for name in ["dcache-end.txt", "dcache-start-port0.txt", "xrootd-end.txt", "flowd-sample.txt"] {
      payloads.append(try shell("cat '\(folder)/\(name)'"))
    }
    #expect(payloads.count == 204)
    func json(_ payload: String) -> String {
      var json = Agent.json(payload)
      while json.last == "\n" { json.removeLast() }
      return String(json)
    }
    func experiment(_ payload: String) -> Int? {
      payload.firstMatch(of: /"experiment-id": *(\d+)/).flatMap { Int($0.1) }
    }
    let pair = try VethPair()
    let ears = try [20000, 20001, 20002].map { try Peer(pair, port: $0) }
    try pair.far.shell("ip addr add 2001:db8::77/64 dev far0 nodad")
    let peer = try Peer(pair, address: "2001:db8::77")
    let far = VethPair.far6
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: """
        interfaces: [near0]
        pipes: [PIPE]
        fireflies:
          remoteEnds: false
          collectors:
            - {host: "\(far)", port: 20000, format: bare}
            - {host: "\(far)", port: 20001, format: bare, experiments: [16]}
            - {host: "\(far)", port: 20002, format: bare, experiments: [2, 23]}
        listen: {fireflies: "[::]:10514", from: "2001:db8::/64", relay: true}
        """, in: pair.near)
    for payload in payloads { try peer.send(payload) }
    for (ear, wanted) in zip(ears, [nil, [16], [2, 23]] as [[Int]?]) {
      let want = payloads.filter { payload in wanted.map { $0.contains(experiment(payload) ?? -1) } ?? true }
      let heard = try ear.heard(atLeast: want.count)
      #expect(heard == want.map(json), "\(heard.count) of \(want.count)")
    }
    #expect(marker.stop() == 0)
    #expect(marker.log.contains("received=204") && marker.log.contains("malformed=0"), "\(marker.log)")
  }

  /// A collector that moves is found by its name again, by the host's own resolver.
  @Test func aNameThatGetsAnotherAddress() throws {
    let pair = try VethPair()
    try pair.far.shell("ip addr add 2001:db8::77/64 dev far0 nodad")
    let hosts = try shell("mktemp /tmp/marker-lab-hosts-XXXXXX").filter { $0 != "\n" }
    defer { unlink(hosts) }
    // The file stays the same one: the daemon sees it in place of /etc/hosts, it alone.
    func name(_ address: String) throws { try shell("echo '\(address) collector.test' >\(hosts)") }
    try name(VethPair.far6)
    let marker = try MarkerProcess(
      "--interface near0 --pipe PIPE --no-remote-fireflies --collector collector.test:20000", in: pair.near,
      by: "unshare -m sh -c 'mount --bind \(hosts) /etc/hosts && exec \"$@\"' sh MARKER")
    var port = 0
    func hears(_ ear: Peer) throws -> Bool {
      for _ in 0..<300 {
        port += 1
        try marker.tell("start udp \(VethPair.near6) \(port) \(VethPair.far6) 9 3 14\n")
        if try !ear.heard(quiet: 100).isEmpty { return true }
      }
      return false
    }
    do {
      let first = try Peer(pair, port: 20000)
      #expect(try hears(first), "\(marker.log)")
    }
    // Nobody is there any more, which its host says.
    try name("2001:db8::77")
    let second = try Peer(pair, port: 20000, address: "2001:db8::77")
    #expect(try hears(second), "\(marker.log)")
    #expect(marker.stop() == 0)
  }

  /// Skipped, counted and told of once; sent where that is wanted. Documentation's addresses count as public.
  @Test func privateRemoteEnds() throws {
    let pair = try VethPair()
    try pair.near.shell("ip addr add 10.7.0.1/24 dev near0 && ip addr add fd00::1/64 dev near0 nodad")
    try pair.far.shell("ip addr add 10.7.0.2/24 dev far0 && ip addr add fd00::2/64 dev far0 nodad")
    func configuration(_ rest: String) -> String {
      "interfaces: [near0]\npipes: [PIPE]\napi: {listen: []}\nfireflies: {\(rest)}\n"
    }
    let marker = try MarkerProcess("--config CONFIG", configuration: configuration(""), in: pair.near)
    let ends = [("10.7.0.1", "10.7.0.2"), ("fd00::1", "fd00::2"), (VethPair.near6, VethPair.far6)]
    let ears = try ends.map { try Peer(pair, port: 10514, address: $0.1) }
    func tell(_ state: String, sendsAll: Bool = false) throws -> [Int] {
      for (local, remote) in ends { try marker.tell("\(state) udp \(local) 5 \(remote) 6 3 14\n") }
      // The public one is the last that is told of.
      let last = try ears[2].heard(atLeast: 1).count
      return try ears[..<2].map { try $0.heard(atLeast: sendsAll ? 1 : 0, quiet: 100).count } + [last]
    }
    #expect(try tell("start") == [0, 0, 1])
    #expect(marker.waitForLog("the remote end 10.7.0.2 of a flow gets no fireflies"))
    #expect(try tell("end") == [0, 0, 1])
    #expect(marker.log.split(separator: "\n").filter { $0.contains("gets no fireflies") }.count == 1)
    try marker.configure(configuration("privateRemoteEnds: true"))
    #expect(marker.waitForLog("configuration read again"))
    #expect(try tell("start", sendsAll: true) == [1, 1, 1])
    #expect(marker.stop() == 0)
    #expect(marker.log.contains("private=4"), "\(marker.log)")
  }
}
