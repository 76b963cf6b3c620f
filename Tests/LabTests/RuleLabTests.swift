import CLinux
import Flow
import Glibc
import Lab
import Linux
import Testing

private let tag = SciTag(packed: 145)  // 2/17

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct RuleLabTests {
  @Test func aConnectionIsMarkedFromItsSYNOn() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5200-5210}]")
    #expect(lab.marker.log.contains("from the first packet"), "\(lab.marker.log)")
    let flow = try lab.connect(to: 5201)
    let other = try lab.connect(to: 5300)
    try flow.near.send([1, 2, 3])
    try other.near.send([1, 2, 3])
    let frames = try lab.wire.frames()
    let tags = lab.tags(flow.key, frames)
    #expect(tags.count >= 3 && tags.allSatisfy { $0 == tag }, "\(tags)")
    #expect(!lab.tags(other.key, frames).contains(tag))
    let start = try lab.heard(1)
    #expect(start.map(\.state) == ["start"] && start[0].destinationPort == 5201)
    #expect(start[0].experiment == 2 && start[0].activity == 17)
  }

  @Test func anAcceptedConnectionIsMarkedFromItsFirstDataOn() throws {
    let lab = try RuledLab("[{tags: [2/17], localPorts: 1094, remote: \"2001:db8::/64\"}]")
    let flow = try lab.accept(on: 1094)
    try flow.near.send([UInt8](repeating: 1, count: 500))
    let frames = try lab.wire.frames()
    // The SYN and ACK leave before there is a connection.
    let rest = lab.tags(flow.key, frames).dropFirst()
    #expect(!rest.isEmpty && rest.allSatisfy { $0 == tag }, "\(rest)")
    #expect(try lab.heard(1).map(\.sourcePort) == [1094])
  }

  @Test func theFirstRuleDecides() throws {
    let lab = try RuledLab(
      """
      [{exclude: true, remote: "2001:db8::2", remotePorts: 5205},
       {experiment: 3, activity: 14, remotePorts: [5201, 5203-5204], protocol: tcp},
       {experiment: 2, activity: 17, remotePorts: 5200-5210}]
      """)
    let flows = try [5201, 5202, 5204, 5205].map { try lab.connect(to: $0) }
    for flow in flows { try flow.near.send([1]) }
    let frames = try lab.wire.frames()
    let cms = SciTag(packed: 206)
    let seen = flows.map { Set(lab.tags($0.key, frames).compactMap(\.self)) }
    #expect(seen[0] == [cms] && seen[1] == [tag] && seen[2] == [cms])
    #expect(seen[3].isDisjoint(with: [tag, cms]))
    #expect(try lab.heard(3).map(\.destinationPort) == [5201, 5202, 5204])
  }

  @Test func ipv4AndMappedSockets() throws {
    let lab = try RuledLab(
      "[{experiment: 2, activity: 17, remote: 192.0.2.0/24, remotePorts: 5201}]", more: "strategy: auto",
      path: "tc")
    let flow = try lab.connect(ipv4: true, to: 5201)
    try flow.near.send([1, 2, 3])
    // An IPv6 socket that speaks IPv4.
    try lab.group.run {
      try lab.pair.near.run {
        let mapped = try Descriptor("socket") { socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0) }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = UInt16(5201).bigEndian
        withUnsafeMutableBytes(of: &address.sin6_addr) {
          $0.storeBytes(of: UInt64(0xffff_c000_0202).bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        let listener = try LabSocket(
          .tcp, in: lab.pair.far, bound: Endpoint(try Conversation.address(VethPair.far4), 5201))
        try listener.listen()
        let result = withUnsafePointer(to: &address) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(mapped.raw, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
          }
        }
        #expect(result == 0)
      }
    }
    let frames = try lab.wire.frames().filter { $0.transport == 6 && $0.destinationPort == 5201 }
    // atlas is 11 in the preset.
    #expect(frames.count >= 5 && frames.allSatisfy { $0.dscp == 11 }, "\(frames.map(\.dscp))")
    let heard = try lab.heard(3)
    #expect(heard.filter { $0.state == "start" }.count == 2 && heard.filter { $0.state == "end" }.count == 1)
  }

  @Test func aDeclaredTagWins() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5200-5210}]")
    // Before its socket is there.
    let key = FlowKey(
      local: Endpoint(try Conversation.address("2001:db8::1"), 20_001),
      remote: Endpoint(try Conversation.address("2001:db8::2"), 5201), transport: .tcp)
    try lab.marker.tell(lab.line("start", key))
    #expect(try lab.heard(1).map(\.activity) == [14])
    let flow = try lab.connect(to: 5201, from: 20_001)
    #expect(flow.key == key)
    try flow.near.send([1])
    let cms = SciTag(packed: 206)
    #expect(lab.tags(key, try lab.wire.frames()).allSatisfy { $0 == cms })
    #expect(try lab.heard(0, within: 2).isEmpty, "no rule's flow beside it")
    // Its source ends it, though the socket stays.
    try lab.marker.tell(lab.line("end", key))
    let end = try #require(try lab.heard(1).first)
    #expect(end.state == "end" && end.activity == 14)
    // What its source has done with is no rule's either, though all sockets are looked at.
    try lab.configure("[{experiment: 2, activity: 17, remotePorts: 5200-5211}]")
    #expect(lab.marker.waitForLog("configuration read again"))
    #expect(try lab.heard(0, within: 2).isEmpty)

    // A source that speaks later.
    let late = try lab.connect(to: 5202)
    #expect(try lab.heard(1).last?.activity == 17)
    try lab.marker.tell(lab.line("start", late.key))
    for _ in 0..<20 where lab.tags(late.key, try lab.wire.frames()).last != cms { try late.near.send([1]) }
    try lab.marker.tell(lab.line("end", late.key))
    let ends = try lab.heard(1).filter { $0.destinationPort == 5202 && $0.state == "end" }
    #expect(ends.count == 1 && ends[0].activity == 14)
  }

  @Test func thousandsOfShortConnectionsEachStartAndEndOnce() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5201}]")
    let listener = try lab.listen(5201)
    let count = 3000
    try lab.group.run {
      for number in 0..<count {
        let near = try LabSocket(
          .tcp, in: lab.pair.near,
          bound: Endpoint(try Conversation.address("2001:db8::1"), UInt16(20_000 + number)))
        try near.connect(to: listener.local)
        let accepted = try listener.accept()
        try near.send([UInt8](repeating: 1, count: 100))
        _ = try accepted.receive()
      }
    }
    let heard = try lab.heard(2 * count, within: 60)
    let ports = Array(20_000..<20_000 + count)
    for state in ["start", "end"] {
      let of = heard.filter { $0.state == state }.map(\.sourcePort)
      #expect(of.count == count && of.sorted() == ports, "\(of.count) times \(state)")
    }
    let counts = heard.filter { $0.state == "end" }.map { $0.sent ?? -1 }
    #expect(counts.allSatisfy { (99...101).contains($0) }, "\(counts.filter { $0 != 100 }.prefix(9))")
    #expect(lab.marker.stop() == 0)
    #expect(try lab.heard(0, within: 2).isEmpty)
  }

  @Test func attemptsThatFailAreNoFlows() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5201}]")
    try lab.group.run {
      for _ in 0..<50 {
        let near = try LabSocket(
          .tcp, in: lab.pair.near, bound: Endpoint(try Conversation.address("2001:db8::1"), 0))
        #expect(throws: SystemError.self) {
          try near.connect(to: Endpoint(try Conversation.address("2001:db8::2"), 5201))
        }
      }
    }
    let attempts = try lab.wire.frames().filter { $0.destinationPort == 5201 }
    #expect(attempts.count >= 50 && attempts.allSatisfy { FlowLabel(Int($0.flowLabel))?.sciTag == tag })
    #expect(try lab.heard(0, within: 2).isEmpty)
  }

  @Test func connectedUDPSockets() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5201, protocol: udp}]")
    let peer = try LabSocket(
      .udp, in: lab.pair.far, bound: Endpoint(try Conversation.address("2001:db8::2"), 5201))
    var key: FlowKey?
    do {
      let near = try LabSocket(
        .udp, in: lab.pair.near, bound: Endpoint(try Conversation.address("2001:db8::1"), 0))
      try near.connect(to: peer.local)
      key = FlowKey(local: near.local, remote: peer.local, transport: .udp)
      let start = try lab.heard(1)
      #expect(start.map(\.state) == ["start"] && start[0].proto == "udp")
      for _ in 0..<3 { try near.send([1, 2, 3]) }
      // Dumps go on finding it, and it stays one flow.
      #expect(try lab.heard(0, within: 3).isEmpty)
    }
    #expect(lab.tags(try #require(key), try lab.wire.frames()) == [tag, tag, tag])
    let end = try #require(try lab.heard(1).first)
    #expect(end.state == "end" && end.sent == 153, "three datagrams of 51 bytes")
    #expect(try lab.heard(0, within: 2).isEmpty)
  }

  @Test func usersGroupsAndProcesses() throws {
    let lab = try RuledLab(
      """
      [{experiment: 2, activity: 17, uid: 65534, remotePorts: 5201-5299},
       {experiment: 3, activity: 14, process: [labmover, labother], remotePorts: 5201-5299},
       {experiment: 1, activity: 1, cgroup: GROUPPATH, remotePorts: 5203}]
      """)
    let listeners = try (5201...5204).map { try lab.listen(UInt16($0)) }
    let holders = [
      try lab.holder(of: 5201, user: 65534), try lab.holder(of: 5202, called: "labmover"),
      try lab.holder(of: 5203), try lab.holder(of: 5204),
    ]
    let accepted = try listeners.map { try $0.accept() }
    let heard = try lab.heard(3)
    let found = heard.sorted { $0.destinationPort < $1.destinationPort }
    #expect(found.map(\.destinationPort) == [5201, 5202, 5203], "not \(heard.map(\.destinationPort))")
    #expect(found.map(\.experiment) == [2, 3, 1] && heard.allSatisfy { $0.state == "start" })
    #expect(holders.count == 4 && accepted.count == 4)
  }

  @Test func aProcessThatAcceptsLate() throws {
    // Nobody has a connection before it is accepted.
    let lab = try RuledLab(
      "[{experiment: 2, activity: 17, process: \(try processName()), localPorts: 1094}]",
      sockets: "cgroup: GROUP, period: 1h")
    let listener = try lab.group.run {
      let listener = try LabSocket(
        .tcp, in: lab.pair.near, bound: Endpoint(try Conversation.address("2001:db8::1"), 1094))
      try listener.listen()
      return listener
    }
    let peer = try LabSocket(
      .tcp, in: lab.pair.far, bound: Endpoint(try Conversation.address("2001:db8::2"), 0))
    try peer.connect(to: listener.local)
    usleep(150_000)
    let accepted = try listener.accept()
    #expect(try lab.heard(1).map(\.state) == ["start"])
    #expect(accepted.local.port == 1094)
  }

  @Test(arguments: ["tc", "nft"]) func withoutSockOps(path: String) throws {
    let lab = try RuledLab(
      "[{experiment: 2, activity: 17, remotePorts: 5201}]", sockets: "cgroup: none, period: 1s", path: path)
    var key: FlowKey?
    do {
      let flow = try lab.connect(to: 5201)
      key = flow.key
      #expect(try lab.heard(1).map(\.state) == ["start"])
      try flow.near.send([1, 2, 3])
    }
    #expect(lab.tags(try #require(key), try lab.wire.frames()).last == tag)
    let end = try lab.heard(1)
    #expect(end.map(\.state) == ["end"] && (end.first?.sent ?? 0) >= 3)
  }

  @Test func nftMarksWhatWasToldOf() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5201}]", path: "nft")
    let flow = try lab.connect(to: 5201)
    #expect(try lab.heard(1).map(\.state) == ["start"])
    try flow.near.send([1, 2, 3])
    #expect(lab.tags(flow.key, try lab.wire.frames()).last == tag)
  }

  @Test func aGroupThatIsNotThere() throws {
    let lab = try RuledLab(
      "[{experiment: 2, activity: 17, remotePorts: 5201}]",
      sockets: "cgroup: GROUP/missing.slice, period: 1s")
    #expect(lab.marker.log.contains("missing.slice") && lab.marker.log.contains("sockets are looked for"))
    let flow = try lab.connect(to: 5201)
    #expect(try lab.heard(1).map(\.sourcePort) == [Int(flow.key.local.port)])
  }

  @Test func socketsThatWereThereBefore() throws {
    var held: [LabSocket] = []
    let lab = try RuledLab(
      "[{experiment: 2, activity: 17, remotePorts: 5201}]", sockets: "cgroup: GROUP, period: 1h",
      before: { pair, _ in
        let far = try LabSocket(
          .tcp, in: pair.far, bound: Endpoint(try Conversation.address("2001:db8::2"), 5201))
        try far.listen()
        let near = try LabSocket(
          .tcp, in: pair.near, bound: Endpoint(try Conversation.address("2001:db8::1"), 0))
        try near.connect(to: far.local)
        held = [far, near, try far.accept()]
      })
    #expect(try lab.heard(1).map(\.sourcePort) == [Int(held[1].local.port)])
    held = []
    #expect(try lab.heard(1).map(\.state) == ["end"])
  }

  @Test func socketsOfOtherNamespacesAreNotThisHosts() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5201}]")
    let other = try VethPair()
    let listener = try LabSocket(
      .tcp, in: other.far, bound: Endpoint(try Conversation.address("2001:db8::2"), 5201))
    try listener.listen()
    try lab.group.run {
      let near = try LabSocket(
        .tcp, in: other.near, bound: Endpoint(try Conversation.address("2001:db8::1"), 0))
      try near.connect(to: listener.local)
    }
    #expect(try lab.heard(0, within: 3).isEmpty)
  }

  @Test func otherRulesAtAReload() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5201}]")
    let first = try lab.connect(to: 5201)
    let second = try lab.connect(to: 5202)
    #expect(try lab.heard(1).map(\.destinationPort) == [5201])
    try lab.configure("[{experiment: 3, activity: 14, remotePorts: 5202-5203}]")
    #expect(lab.marker.waitForLog("configuration read again"))
    // One that is there already, and one that comes.
    let third = try lab.connect(to: 5203)
    let heard = try lab.heard(2)
    #expect(Set(heard.map(\.destinationPort)) == [5202, 5203] && heard.allSatisfy { $0.activity == 14 })
    // The first stays until its end.
    try first.near.send([1])
    #expect(lab.tags(first.key, try lab.wire.frames()).last == tag)
    try lab.configure("[{experiment: 3, remotePorts: 5202}]")
    #expect(lab.marker.waitForLog("a rule needs experiment and activity, or tags, or exclude: true"))
    #expect(second.key != third.key)
  }

  @Test func markAllAnnouncesEachFlow() throws {
    let lab = try RuledLab(
      "[{exclude: true, remotePorts: 5299}]", more: "markAll: 2/17", fireflies: "1s")
    let udp = try LabSocket(
      .udp, in: lab.pair.far, bound: Endpoint(try Conversation.address("2001:db8::2"), 4000))
    let near = try LabSocket(
      .udp, in: lab.pair.near, bound: Endpoint(try Conversation.address("2001:db8::1"), 0))
    try near.connect(to: udp.local)
    var heard: [Heard] = []
    do {
      let flow = try lab.connect(to: 5201)
      let left = try lab.connect(to: 5299)
      // To itself.
      let loop = try lab.group.run { try Self.loopback(lab.pair.near) }
      try flow.near.send([UInt8](repeating: 1, count: 1000))
      let frames = try lab.wire.frames()
      #expect(lab.tags(flow.key, frames).allSatisfy { $0 == tag })
      heard += try lab.heard(0, within: 4)
      #expect(left.key.remote.port == 5299 && loop.local.port != 0)
    }
    heard += try lab.heard(0, within: 3)
    func ports(_ state: String) -> [Int] { heard.filter { $0.state == state }.map(\.destinationPort) }
    #expect(ports("start").sorted() == [4000, 5201] && ports("end") == [5201])
    #expect(Set(ports("ongoing")) == [4000, 5201])
    let end = try #require(heard.first { $0.state == "end" })
    #expect((1000...1001).contains(end.sent ?? 0) && end.experiment == 2 && end.activity == 17)
  }

  private static func loopback(_ namespace: NetworkNamespace) throws -> LabSocket {
    let here = try Conversation.address("::1")
    let listener = try LabSocket(.tcp, in: namespace, bound: Endpoint(here, 0))
    try listener.listen()
    let near = try LabSocket(.tcp, in: namespace, bound: Endpoint(here, 0))
    try near.connect(to: listener.local)
    return near
  }

  private func processName() throws -> String {
    try shell("cat /proc/\(getpid())/comm").filter { $0 != "\n" }
  }
}
