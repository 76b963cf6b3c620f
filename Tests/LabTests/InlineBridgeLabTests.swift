import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

private typealias Build = PacketBuilder

/// What belongs to the bridge stays with it: packets for this host, for another port, for many.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InlineBridgeLabTests {
  private static let boxAddress = "2001:db8::77"
  private static let otherAddress = "2001:db8::78"

  /// The box itself has an address on its bridge, and a third port has a host behind it.
  private func crowded() throws -> (lab: InlineLab, other: NetworkNamespace) {
    let lab = try InlineLab()
    let other = try NetworkNamespace()
    try lab.box.shell(
      """
      sysctl -qw net.ipv6.conf.br0.disable_ipv6=0 net.ipv6.conf.br0.accept_dad=0
      ip addr add \(Self.boxAddress)/64 dev br0 nodad
      ip link add third0 type veth peer name oth0 netns \(other.path)
      ip link set third0 master br0 && ip link set third0 up
      """)
    try other.shell(
      "sysctl -qw net.ipv6.conf.oth0.accept_dad=0; ip addr add \(Self.otherAddress)/64 dev oth0 nodad && ip link set oth0 up"
    )
    return (lab, other)
  }

  /// Whether a datagram to each arrives, and none of them leaves by the outside.
  private func reaches(_ lab: InlineLab, _ namespace: NetworkNamespace, _ text: String) throws -> Bool {
    let far = try LabSocket(.udp, in: namespace, bound: Endpoint(try Conversation.address(text), 0))
    let near = try LabSocket(
      .udp, in: lab.near, bound: Endpoint(try Conversation.address(VethPair.near6), 0))
    try near.connect(to: far.local)
    let key = FlowKey(local: near.local, remote: far.local, transport: .udp)
    var arrived = false
    let capture = try Capture("rem0", in: lab.far)
    for _ in 0..<40 where !arrived {
      try near.send([1])
      arrived = try far.receive(within: 100) != nil
    }
    // What nobody has learned yet is flooded, by the bridge.
    let leaked = try capture.frames(quiet: 50).of(key)
    return arrived && leaked.allSatisfy { !$0.isLabelled }
  }

  @Test(arguments: ["raw", "xdp"]) func othersOnTheBridge(path: String) throws {
    let (lab, other) = try crowded()
    let marker = try lab.startMarker("--path \(path) --mark-all 2/17")
    let flow = try Conversation.udp(lab)
    #expect(try lab.sees(flow) { $0.isLabelled })
    #expect(try reaches(lab, lab.box, Self.boxAddress), "the host itself")
    #expect(try reaches(lab, other, Self.otherAddress), "a third port")
    // Groups are for all ports.
    let heard = try Capture("oth0", in: other)
    let here = try Capture("br0", in: lab.box)
    try transmit(
      [0x33, 0x33, 0, 0, 0, 1] + Build.ethernet(0x86dd).dropFirst(6)
        + Build.ipv6(next: 17, Build.udp(7, 7)), by: "app0", in: lab.near)
    #expect(try heard.frames(quiet: 300).contains { $0.sourcePort == 7 && $0.transport == 17 })
    #expect(try here.frames(quiet: 300).contains { $0.sourcePort == 7 && $0.transport == 17 })
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  /// A host that moves from the outside to another port is followed.
  @Test(arguments: ["raw", "xdp"]) func aHostMoves(path: String) throws {
    let (lab, other) = try crowded()
    let marker = try lab.startMarker("--path \(path) --mark-all 2/17")
    let flow = try Conversation.udp(lab)
    #expect(try lab.sees(flow) { $0.isLabelled })
    try lab.far.shell(
      "ip link set rem0 address 02:00:00:00:00:99 && ip addr del \(VethPair.far6)/64 dev rem0")
    try other.shell(
      "ip link set oth0 down; ip link set oth0 address \(VethPair.farHardware); ip addr add \(VethPair.far6)/64 dev oth0 nodad; ip link set oth0 up"
    )
    #expect(try reaches(lab, other, VethPair.far6))
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  /// Whether bridges of this kernel have tables for VLANs (CONFIG_BRIDGE_VLAN_FILTERING).
  private static let canFilterTags: Bool = {
    let command = "ip link add b type bridge vlan_filtering 1"
    return (try? NetworkNamespace().shell(command)) != nil
  }()

  @Test(.enabled(if: canFilterTags, "no bridges with tables for VLANs"))
  func aBridgeThatFiltersTagsIsRefused() throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path raw --mark-all 2/17")
    let flow = try Conversation.udp(lab)
    #expect(try lab.sees(flow) { $0.isLabelled })
    try lab.box.shell("ip link set br0 type bridge vlan_filtering 1")
    #expect(marker.waitForLog("br0 filters VLANs"))
    #expect(try lab.sees(flow) { !$0.isLabelled })
    try lab.box.shell("ip link set br0 type bridge vlan_filtering 0")
    #expect(try lab.sees(flow) { $0.isLabelled })
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  /// Ports go down and come up, MTUs change, the bridge goes and comes back.
  @Test(arguments: ["raw", "xdp"]) func portsChange(path: String) throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path \(path)")
    let flow = try Conversation.udp(lab)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    for port in ["in0", "out0"] {
      try lab.box.shell("ip link set \(port) down")
      try flow.near.send([1])
      try lab.box.shell("ip link set \(port) up")
      #expect(try lab.reaches(flow) { $0.isLabelled }, "\(port): \(marker.log)")
    }
    try lab.box.shell("ip link set out0 mtu 1400")
    #expect(marker.waitForLog("out0 only 1400"))
    #expect(try lab.reaches(flow) { !$0.isLabelled })
    try lab.box.shell("ip link set out0 mtu 1500")
    #expect(try lab.reaches(flow) { $0.isLabelled }, "\(marker.log)")
    try lab.box.shell("ip link delete br0")
    #expect(marker.waitForLog("not ports of one bridge"))
    try lab.box.shell(
      "ip link add br1 type bridge && ip link set in0 master br1 && ip link set out0 master br1 && ip link set br1 up"
    )
    // The new bridge knows nobody whom it has not heard.
    #expect(try lab.reaches(flow) { _ in true })
    try flow.far.send([1], to: flow.key.local)
    #expect(try lab.reaches(flow) { $0.isLabelled }, "\(marker.log)")
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try lab.checksumErrors() == 0)
  }

  /// Somebody deletes the device that packets are handed to.
  @Test func theSinkGoes() throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path raw")
    let flow = try Conversation.udp(lab)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    try lab.box.shell("ip link set marker0 down")
    #expect(marker.waitForLog("packets are not taken over any more"))
    #expect(try lab.sees(flow) { $0.isLabelled }, "\(marker.log)")
    try lab.box.shell("ip link delete $(ip -br link | awk '/^marker/{print $1; exit}')")
    #expect(try lab.sees(flow) { $0.isLabelled }, "\(marker.log)")
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  /// What flows have counted is still there when packets were given back to the bridge and taken over again.
  @Test(arguments: [PathKind.raw, .xdp]) func countsOutliveAPort(kind: PathKind) throws {
    let lab = try InlineLab()
    let path = InlinePath(kind, maxFlows: 10)
    func open() throws { try lab.box.run { try path.open(InlinePair.find(inside: "in0", outside: "out0")) } }
    try open()
    let flow = try Conversation.udp(lab)
    let mark = Mark(label: FlowLabel(0x10044).map { LabelStamp($0, .kernel) })
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, flow.key, mark))
    path.apply(&batch)
    func usage() throws -> Usage? {
      var found: Usage?
      try path.readUsage { if $0 == flow.key { found = $1 } }
      return found
    }
    for _ in 0..<5 { try flow.near.send([1]) }
    for _ in 0..<1000 where try usage()?.packets != 5 { usleep(10_000) }
    path.close()
    #expect(try usage() == Usage(packets: 5, bytes: 5 * 49))
    try open()
    // The table's own count is older.
    try path.takeOver { $0(flow.key, mark, Usage(packets: 1, bytes: 49)) }
    for _ in 0..<2 { try flow.near.send([1]) }
    for _ in 0..<1000 where try usage()?.packets != 7 { usleep(10_000) }
    #expect(try usage() == Usage(packets: 7, bytes: 7 * 49))
    path.close()
    batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.unmark, flow.key, mark))
    path.apply(&batch)
    #expect(batch.changes[0].usage == Usage(packets: 7, bytes: 7 * 49))
  }

  /// What mark-all leaves alone, as with the other paths.
  @Test(arguments: ["raw", "xdp"]) func exclusions(path: String) throws {
    let lab = try InlineLab()
    func configuration(_ except: String) -> String {
      """
      inline: {inside: in0, outside: out0}
      pipes: [PIPE]
      api: {listen: []}
      strategy: auto
      path: \(path)
      fireflies: {remoteEnds: false}
      sockets: {cgroup: none}
      markAll: 2/17
      \(except)
      """
    }
    let (six, four) = (try Conversation.udp(lab), try Conversation.udp(lab, ipv4: true))
    let marker = try MarkerProcess(
      "--config CONFIG", configuration: configuration("markAllExcept: {networks: [192.0.2.0/24]}"),
      in: lab.box)
    #expect(try lab.sees(six) { $0.isLabelled }, "\(marker.log)")
    #expect(try lab.sees(four) { $0.dscp == 0 })
    try marker.configure(configuration("markAllExcept: {ports: [\(six.key.remote.port)]}"))
    #expect(try lab.sees(six) { !$0.isLabelled }, "\(marker.log)")
    #expect(try lab.sees(four) { $0.dscp == 11 })
    try marker.tell("start", six)
    #expect(try lab.sees(six) { $0.isLabelled }, "a tagged flow is marked all the same")
    #expect(marker.stop() == 0, "\(marker.log)")
  }
}
