import Flow
import Glibc
import Lab
import Linux
import Synchronization
import Testing
import XDP

private typealias Build = PacketBuilder

/// What senders leave to their devices, and frames that are as long as they may be.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InlineOffloadLabTests {
  /// A connection through a device on top of those of the lab, which has these addresses.
  private func stacked(_ lab: InlineLab, _ near: String, _ far: String) throws -> Conversation {
    let listener = try LabSocket(
      .tcp, in: lab.far, bound: Endpoint(try Conversation.address(far), 0))
    try listener.listen()
    let socket = try LabSocket(
      .tcp, in: lab.near, bound: Endpoint(try Conversation.address(near), 0))
    try socket.connect(to: listener.local)
    return Conversation(
      near: socket, far: try listener.accept(),
      key: FlowKey(local: socket.local, remote: listener.local, transport: .tcp))
  }

  /// The checksum that is left to the device is inside a tunnel's packet.
  @Test(arguments: ["raw", "xdp"]) func tunnel(path: String) throws {
    let lab = try InlineLab()
    for (namespace, device, local, remote, inner) in [
      (lab.near, "app0", VethPair.near4, VethPair.far4, "198.51.100.1"),
      (lab.far, "rem0", VethPair.far4, VethPair.near4, "198.51.100.2"),
    ] {
      try namespace.shell(
        """
        ip link add vx0 type vxlan id 7 dev \(device) local \(local) remote \(remote) dstport 4789
        ip addr add \(inner)/24 dev vx0 && ip link set vx0 up
        """)
    }
    let marker = try lab.startMarker("--path \(path) --strategy auto --mark-all 2/17")
    let witness = try Conversation.udp(lab, ipv4: true)
    #expect(try lab.sees(witness) { $0.dscp == 11 })
    let capture = try Capture("rem0", in: lab.far)
    let flow = try stacked(lab, "198.51.100.1", "198.51.100.2")
    try flow.pour(2_000_000)
    let outer = try capture.frames().filter { $0.destinationPort == 4789 }
    #expect(outer.count > 1000 && outer.allSatisfy { $0.dscp == 11 })
    #expect(try lab.checksumErrors() == 0)
    #expect(marker.stop() == 0, "\(marker.log)")
  }

  /// With tags a frame may be longer than a packet socket sends, which the bridge forwards all the same.
  @Test(arguments: ["raw", "xdp"]) func longTaggedFrames(path: String) throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path \(path)")
    let flow = try Conversation.udp(lab)
    let (local, remote) = (flow.key.local, flow.key.remote)
    try marker.tell("start", flow)
    #expect(try lab.sees(flow) { $0.isLabelled })
    // A packet socket, here the sender's, takes 802.1Q beyond the MTU and nothing else; the veth takes one tag of any kind.
    try lab.near.shell("ip link set app0 mtu 1508")
    func octets(_ address: Address) -> [UInt8] {
      [address.high, address.low].flatMap { half in withUnsafeBytes(of: half.bigEndian) { Array($0) } }
    }
    // 1452 bytes of UDP make a packet as long as the MTU.
    for (tags, payload, isMarked) in [
      ([(0x8100, 5)], 1452, true), ([(0x88a8, 5)], 1452, path == "xdp"), ([(0x88a8, 5)], 1448, true),
      ([(0x8100, 5), (0x8100, 6)], 1448, true), ([(0x88a8, 5), (0x8100, 6)], 1448, path == "xdp"),
      ([(0x88a8, 5), (0x8100, 6)], 1444, true),
    ] as [([(UInt16, UInt16)], Int, Bool)] {
      let capture = try TagCapture("rem0", in: lab.far)
      let packet = Build.ipv6(
        label: 0x95a5a, next: 17, source: octets(local.address), destination: octets(remote.address),
        Build.udp(local.port, remote.port, payload: [UInt8](repeating: 1, count: payload)))
      try transmit(Build.ethernet(0x86dd, tags: tags) + packet, by: "app0", in: lab.near)
      let seen = try capture.next { $0.sourcePort == local.port && $0.bytes.count > 1400 }
      #expect(seen?.tag == 5 && seen?.frame.isLabelled == isMarked, "\(tags) \(payload)")
    }
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(marker.log.contains("unsent=0"), "\(marker.log)")
  }

  /// On a kernel without vnet headers all is done before the packets come.
  @Test(arguments: [false, true]) func withoutVnetHeaders(ipv4: Bool) throws {
    let lab = try InlineLab()
    let path = InlinePath(.raw, maxFlows: 10, headers: false)
    try lab.box.run { try path.open(InlinePair.find(inside: "in0", outside: "out0")) }
    #expect(path.words.contains("without vnet headers"))
    let flow = try Conversation.tcp(lab, ipv4: ipv4)
    let mark =
      ipv4
      ? Mark(codePoint: CodePoint(11).map { CodePointStamp($0, onlyIfUnset: false) })
      : Mark(label: FlowLabel(0x10044).map { LabelStamp($0, .kernel) })
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, flow.key, mark))
    path.apply(&batch)
    #expect(batch.changes[0].failure == nil)
    let capture = try Capture("rem0", in: lab.far)
    try flow.pour(20_000_000)
    let frames = try capture.frames().of(flow.key)
    #expect(frames.count > 13_000)
    #expect(frames.allSatisfy { ipv4 ? $0.dscp == 11 : $0.isLabelled })
    #expect(frames.allSatisfy { $0.checksumsAreRight == true })
    #expect(try lab.checksumErrors() == 0)
    // One packet, in a block that is not full.
    let few = try Conversation.udp(lab)
    batch = ChangeBatch()
    batch.changes.append(
      ChangeBatch.Change(.mark, few.key, Mark(label: FlowLabel(0x10044).map { LabelStamp($0, .kernel) })))
    path.apply(&batch)
    #expect(try lab.sees(few) { $0.isLabelled })
    path.close()
    let counters = path.counters
    #expect(counters.received.load(ordering: .relaxed) == counters.sent.load(ordering: .relaxed))
    #expect(counters.overflowed.load(ordering: .relaxed) == 0)
  }

  /// A socket for each queue: flows that come by different ones are all marked.
  @Test(arguments: ["raw", "xdp"]) func manyQueues(path: String) throws {
    let lab = try InlineLab(queues: 4)
    let marker = try lab.startMarker("--path \(path) --mark-all 2/17")
    if path == "xdp" { #expect(marker.log.contains("4 queues"), "\(marker.log)") }
    let first = try Conversation.udp(lab)
    #expect(try lab.sees(first) { $0.isLabelled })
    let flows = try (0..<32).map { _ in try Conversation.udp(lab) }
    let capture = try Capture("rem0", in: lab.far)
    for flow in flows { try flow.near.send([1]) }
    var frames: [Frame] = []
    for _ in 0..<100 {
      frames += try capture.frames(quiet: 50).filter { frame in
        frame.transport == 17 && flows.contains { $0.key.local.port == frame.sourcePort }
      }
      if frames.count >= 32 { break }
    }
    #expect(frames.count == 32 && frames.allSatisfy(\.isLabelled))
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try lab.checksumErrors() == 0)
  }
}
