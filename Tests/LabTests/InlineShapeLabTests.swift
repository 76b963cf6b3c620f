import Flow
import Glibc
import Lab
import Linux
import Testing

private typealias Build = PacketBuilder

/// Packets that are not plain, and what `marker inline` sets up.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InlineShapeLabTests {
  @Test(arguments: ["raw", "xdp"], [false, true]) func fragments(path: String, ipv4: Bool) throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path \(path) --strategy auto")
    let flow = try Conversation.udp(lab, ipv4: ipv4)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { ipv4 ? $0.dscp == 11 : $0.isLabelled })
    let capture = try Capture("rem0", in: lab.far)
    let bytes = (0..<6000).map { UInt8(truncatingIfNeeded: $0) }
    try flow.near.send(bytes)
    let pieces = try capture.frames().filter { $0.isFragment && $0.destination == flow.key.remote.address }
    #expect(pieces.count == 5 && pieces.allSatisfy { ipv4 ? $0.dscp == 11 : $0.isLabelled })
    while let received = try flow.far.receive(within: 500) {
      #expect(received.count == 3 || received == bytes)
    }
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try lab.checksumErrors() == 0)
  }

  @Test(arguments: ["raw", "xdp"]) func tags(path: String) throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path \(path)")
    let flow = try Conversation.udp(lab)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    func octets(_ address: Address) -> [UInt8] {
      [address.high, address.low].flatMap { half in withUnsafeBytes(of: half.bigEndian) { Array($0) } }
    }
    let packet = Build.ipv6(
      label: 0x95a5a, next: 17, source: octets(flow.key.local.address),
      destination: octets(flow.key.remote.address), Build.udp(flow.key.local.port, flow.key.remote.port))
    for tags in [[(0x8100, 0x6123)], [(0x88a8, 0x0005), (0x8100, 0x0006)]] as [[(UInt16, UInt16)]] {
      let capture = try TagCapture("rem0", in: lab.far)
      try transmit(Build.ethernet(0x86dd, tags: tags) + packet, by: "app0", in: lab.near)
      let seen = try #require(try capture.next { $0.sourcePort == flow.key.local.port })
      // The kernel takes the outer tag out of what it shows.
      #expect(seen.tag == tags[0].1 && seen.frame.networkOffset == 14 + 4 * (tags.count - 1))
      #expect(seen.frame.flowLabel == 0x10044 | 0x95a5a & FlowLabel.entropyMask)
    }
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  @Test func jumboFrames() throws {
    let lab = try InlineLab(mtu: 9000)
    let marker = try lab.startMarker("--path raw")
    let flow = try Conversation.udp(lab)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    let capture = try Capture("rem0", in: lab.far)
    try flow.near.send([UInt8](repeating: 7, count: 8900))
    let frames = try capture.frames().of(flow.key)
    #expect(frames.count == 1 && frames[0].isLabelled && frames[0].bytes.count > 8900)
    #expect(frames.allSatisfy { $0.checksumsAreRight == true })
    #expect(marker.stop() == 0, "\(marker.log)")
    let error = #expect(throws: SystemError.self) { try lab.startMarker("--path xdp") }
    let reason = error?.description ?? ""
    #expect(reason.contains("engine raw takes all"))
  }

  /// What no flow matches has the scope's mark, and ICMPv6 with it; ARP and neighbour discovery go on.
  @Test(arguments: ["raw", "xdp"]) func markAll(path: String) throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path \(path) --mark-all 2/17")
    try lab.near.shell("ip neigh flush dev app0")
    let flow = try Conversation.udp(lab)
    #expect(try lab.sees(flow) { $0.isLabelled })
    let capture = try Capture("rem0", in: lab.far)
    try lab.near.shell("ip neigh flush dev app0")
    try flow.near.send([1])
    let frames = try capture.frames()
    // Questions for a group are the bridge's, and are not marked.
    #expect(frames.contains { $0.transport == 58 && $0.bytes[0] & 1 == 1 && !$0.isLabelled })
    #expect(frames.allSatisfy { !$0.isIPv6 || $0.bytes[0] & 1 == 1 || $0.isLabelled })
    let four = try Conversation.udp(lab, ipv4: true)
    try lab.near.shell("ip neigh flush dev app0")
    #expect(try lab.sees(four) { $0.trafficClass == 0 })
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try lab.checksumErrors() == 0)
  }

  /// AF_XDP asks the other end of the veth for its tags, and gives back what it took, also after a kill.
  @Test func offloadsComeBack() throws {
    let lab = try InlineLab()
    let before = try lab.near.shell("ethtool -k app0")
    func hasTags() throws -> Bool { try lab.near.shell("ethtool -k app0").contains("tx-vlan-offload: on") }
    #expect(try hasTags())
    var marker = try lab.startMarker("--path xdp")
    #expect(try !hasTags())
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try lab.near.shell("ethtool -k app0") == before)
    marker = try lab.startMarker("--path xdp")
    #expect(marker.stop(SIGKILL) == nil)
    #expect(try !hasTags())
    try lab.box.shell("\(MarkerProcess.binary) inline down --inside in0")
    #expect(try lab.near.shell("ethtool -k app0") == before)
  }

  @Test func upAndDown() throws {
    let lab = try InlineLab(bridged: false)
    let command = "\(MarkerProcess.binary) inline"
    let before = try lab.box.shell("ip -o link | sed 's/qlen.*//'")
    #expect(throws: SystemError.self) { try lab.box.shell("\(command) status --inside in0 --outside out0") }
    let told = try lab.box.shell("\(command) up --inside in0 --outside out0")
    for line in [
      "ip link add br-marker type bridge", "ip link set in0 master br-marker", "ip link set br-marker up",
    ] {
      #expect(told.contains(line), "\(told)")
    }
    #expect(try lab.box.shell("\(command) up --inside in0 --outside out0").contains("nothing to do"))
    #expect(
      try lab.box.shell("\(command) status --inside in0 --outside out0").contains("ready; engines: raw"))
    let marker = try lab.startMarker("--path auto")
    let flow = try Conversation.udp(lab)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    #expect(marker.stop() == 0, "\(marker.log)")
    let undone = try lab.box.shell("\(command) down")
    #expect(undone.contains("ip link delete br-marker"), "\(undone)")
    #expect(try lab.box.shell("ip -o link | sed 's/qlen.*//'") == before)
  }

  /// The veth of a named namespace is found by its name.
  @Test func upForANamespace() throws {
    let lab = try InlineLab(bridged: false)
    let name = "marker-lab-\(getpid())"
    try lab.near.shell(
      "mkdir -p /run/netns && touch /run/netns/\(name) && mount --bind /proc/self/ns/net /run/netns/\(name)")
    defer { _ = try? lab.near.shell("umount /run/netns/\(name); rm -f /run/netns/\(name)") }
    let told = try lab.box.shell("\(MarkerProcess.binary) inline up --netns \(name) --outside out0")
    #expect(told.contains("ip link set in0 master br-marker"), "\(told)")
    try lab.box.shell("\(MarkerProcess.binary) inline down")
  }
}
