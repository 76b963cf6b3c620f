import Flow
import Glibc
import Lab
import Linux
import Testing

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InterfaceLabTests {
  /// What the log says of an interface, by the path's own word.
  private func attachments(_ marker: MarkerProcess, _ name: String) -> Int {
    marker.log.split(separator: "\n").count {
      $0.contains("msg=marking ") && $0.contains("interface=\(name) ")
    }
  }

  private func waitForAttachments(_ marker: MarkerProcess, _ name: String, _ count: Int) -> Bool {
    for _ in 0..<300 {
      if attachments(marker, name) >= count { return true }
      usleep(10_000)
    }
    return false
  }

  @Test func theKernelsViewIsRead() throws {
    let namespace = try NetworkNamespace()
    try namespace.shell(
      """
      ip link add br0 type bridge && ip link add v0 type veth peer name v1 && ip link set v0 master br0
      ip addr add 2001:db8::1/64 dev v1 nodad && ip link set v1 up && ip link set v0 up
      ip -6 route add default via 2001:db8::9 dev v1
      ip addr add 192.0.2.1/24 dev br0 && ip link set br0 up && ip route add default via 192.0.2.9 dev br0
      """)
    let interfaces = try namespace.run { try Interface.all() }
    let named = Dictionary(uniqueKeysWithValues: interfaces.map { ($0.name, $0) })
    let (bridge, port, other) = (
      try #require(named["br0"]), try #require(named["v0"]), try #require(named["v1"])
    )
    #expect(bridge.kind == "bridge" && port.kind == "veth" && port.master == bridge.index)
    #expect(other.lower == port.index && !other.isStacked, "a veth's peer is not below it")
    #expect(try namespace.run { try DefaultRoutes.interfaces() } == [bridge.index, other.index])
    let addresses = try namespace.run { try LocalAddress.all() }
    #expect(
      addresses.contains {
        $0.address.description == "2001:db8::1" && $0.interface == other.index && $0.isGlobal
      })
    #expect(addresses.filter { $0.address.isLinkLocal }.allSatisfy { !$0.isGlobal })
    #expect(addresses.contains { $0.address.description == "192.0.2.1" && $0.isGlobal })
  }

  @Test(arguments: ["tc", "nft"]) func aPatternTakesWhatComesLater(path: String) throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(
      "--interface 'aux*' --path \(path) --pipe PIPE --no-remote-fireflies", in: pair.near)
    #expect(marker.log.contains("no interface is selected yet"))
    try marker.tell("start udp 2001:db8:5::1 5 2001:db8:5::2 6 3 14\n")
    for round in 1...3 {
      try pair.near.shell(
        """
        ip link add aux\(round) type veth peer name peer
        ip addr add 2001:db8:5::1/64 dev aux\(round) nodad && ip link set aux\(round) up && ip link set peer up
        ip neigh replace 2001:db8:5::2 lladdr 02:00:00:00:00:09 dev aux\(round) nud permanent
        """)
      #expect(waitForAttachments(marker, "aux\(round)", 1))
      let capture = try Capture("peer", in: pair.near)
      let socket = try LabSocket(
        .udp, in: pair.near, bound: Endpoint(try Conversation.address("2001:db8:5::1"), 5))
      try socket.send([1], to: Endpoint(try Conversation.address("2001:db8:5::2"), 6))
      let labels = try capture.frames().filter { $0.transport == 17 }.map {
        $0.flowLabel & ~FlowLabel.entropyMask
      }
      #expect(labels == [0x30038])
      try pair.near.shell("ip link del aux\(round)")
    }
    #expect(marker.stop() == 0)
  }

  @Test func discoveryFollowsTheDefaultRoute() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess("--discover defaultRoute --pipe PIPE --no-remote-fireflies", in: pair.near)
    #expect(attachments(marker, "near0") == 0)
    try pair.near.shell("ip -6 route add default via 2001:db8::9 dev near0")
    #expect(waitForAttachments(marker, "near0", 1))
    try pair.near.shell("ip -6 route del default")
    #expect(marker.waitForLog("an interface is gone"))
  }

  @Test func aHundredRoundsOfChurnLeakNothing() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(
      "--interface near0 --interface 'aux*' --pipe PIPE --no-remote-fireflies", in: pair.near)
    func descriptors() throws -> Int { try marker.openDescriptors }
    try pair.near.shell("ip link add aux0 type veth peer name peer && ip link del aux0")
    usleep(200_000)
    let before = try descriptors()
    try pair.near.shell(
      """
      for round in $(seq 1 100); do
        ip link add aux$round type veth peer name peer && ip link set aux$round name auxx && ip link set auxx name other
        ip link del other
      done
      """)
    for _ in 0..<100 {
      if try descriptors() == before { break }
      usleep(20_000)
    }
    #expect(try descriptors() == before)
    #expect(!marker.log.contains("cannot look at"))
    // It still does its work.
    let flow = try Conversation.udp(pair)
    try marker.tell("start udp 2001:db8::1 \(flow.key.local.port) 2001:db8::2 \(flow.key.remote.port) 3 14\n")
    usleep(100_000)
    let capture = try Capture("far0", in: pair.far)
    try flow.near.send([1])
    #expect(try capture.frames().of(flow.key).map { $0.flowLabel & ~FlowLabel.entropyMask } == [0x30038])
    #expect(marker.stop() == 0)
  }

  /// Our filters on an interface.
  private func filters(_ pair: VethPair) throws -> Int {
    try pair.near.shell("tc filter show dev near0 egress").split(separator: "\n").count {
      $0.contains("marker_ethernet")
    }
  }

  private let clsact = "--interface near0 --path tc --tc-hook clsact --pipe PIPE --no-remote-fireflies"

  @Test func aFilterThatSomebodyTakesAwayIsBack() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(clsact, in: pair.near)
    #expect(try filters(pair) == 1)
    try pair.near.shell("tc qdisc del dev near0 clsact")
    #expect(
      marker.waitForLog("somebody removed our tc filter")
        || marker.waitForLog("somebody removed our tc filter"))
    #expect(waitForAttachments(marker, "near0", 2))
    #expect(try filters(pair) == 1)
    #expect(marker.stop() == 0)
    #expect(try pair.near.shell("tc qdisc show dev near0").contains("clsact") == false)
  }

  @Test func aFilterLeftAtAnotherPriorityIsTakenOver() throws {
    let pair = try VethPair()
    try pair.near.shell(
      "tc qdisc add dev near0 clsact; tc filter add dev near0 egress pref 1 protocol ip bpf bytecode '1,6 0 0 0,'"
    )
    let first = try MarkerProcess(clsact, in: pair.near)
    _ = first.stop(SIGKILL)
    #expect(try filters(pair) == 1)
    try pair.near.shell("tc filter del dev near0 egress pref 1")
    let second = try MarkerProcess(clsact, in: pair.near)
    #expect(try filters(pair) == 1, "replaced in place")
    #expect(second.stop() == 0)
    #expect(try pair.near.shell("tc filter show dev near0 egress") == "")
  }

  @Test func anotherInterfaceWithTheSameIndex() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess("--interface 'aux*' --pipe PIPE --no-remote-fireflies", in: pair.near)
    let make =
      "ip link add aux0 index 77 type veth peer name aux1 && ip link set aux0 up && ip link set aux1 up"
    try pair.near.shell(make)
    #expect(waitForAttachments(marker, "aux0", 1))
    try pair.near.shell("ip link del aux0; \(make)")
    #expect(waitForAttachments(marker, "aux0", 2))
  }
}
