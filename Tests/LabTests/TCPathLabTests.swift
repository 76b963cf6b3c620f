import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

private let tag = SciTag(packed: 206)
private let bits: UInt32 = 0x30038

private func mark() throws -> Mark {
  Mark(label: LabelStamp(try #require(FlowLabel(tag, entropy: 0x4_0102)), .kernel))
}

extension TCPath {
  fileprivate func set(_ action: ChangeBatch.Change.Action, _ key: FlowKey) throws -> Usage? {
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(action, key, try mark()))
    apply(&batch)
    #expect(batch.changes[0].failure == nil)
    return batch.changes[0].usage
  }
}

extension VethPair {
  func interface(_ name: String) throws -> Interface {
    try #require(try near.run { try Interface.all() }.first { $0.name == name })
  }
  func attach(_ path: TCPath, _ name: String = "near0") throws -> TCHook {
    let interface = try interface(name)
    return try near.run { try path.attach(to: interface) }
  }
  /// A clsact filter is taken away through the namespace that it is in.
  func detach(_ path: TCPath) {
    near.run { for index in path.attachedInterfaces { path.detach(fromInterface: index) } }
  }
}

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct TCPathLabTests {
  @Test(arguments: TCHook.allCases, [true, false])
  func everyPacketOfTheFlowAndNoOther(hook: TCHook, offloads: Bool) throws {
    let pair = try VethPair(offloads: offloads)
    let path = try TCPath(maxFlows: 100, hook: hook)
    #expect(try pair.attach(path) == hook)
    let ours = try Conversation.tcp(pair)
    let others = try Conversation.tcp(pair)
    let before = try Capture("far0", in: pair.far)
    try others.transfer(1)
    let othersLabel = try #require(try before.frames().of(others.key).first).flowLabel

    let capture = try Capture("far0", in: pair.far)
    _ = try path.set(.mark, ours.key)
    try ours.transfer(3_000_000)
    try others.transfer(300_000)
    try ours.far.send([1])
    #expect(try ours.near.receive()?.count == 1)
    let frames = try capture.frames()
    #expect(try capture.dropped() == 0)

    let marked = frames.of(ours.key)
    #expect(marked.allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask == bits })
    #expect(Set(marked.map(\.flowLabel)).count == 1, "the kernel's entropy is stable")
    #expect(frames.of(others.key).allSatisfy { $0.flowLabel == othersLabel })
    if offloads {
      #expect(marked.contains { $0.end - $0.transportOffset > 3000 }, "super-packets")
    } else {
      #expect(marked.count > 2000 && marked.allSatisfy { $0.end - $0.networkOffset <= 1500 })
      #expect(frames.allSatisfy { $0.checksumsAreRight != false })
      // Counted as the wire carries it.
      let usage = try #require(try path.set(.unmark, ours.key))
      #expect(usage.packets == UInt64(marked.count))
      #expect(usage.bytes == marked.reduce(0) { $0 + UInt64($1.end - $1.networkOffset) })
    }
  }

  /// Super-packets beyond 64 KB carry a jumbo header that never reaches the wire.
  @Test func bigTCPIsCountedAsTheWireHasIt() throws {
    let pair = try VethPair(offloads: true)
    try pair.near.shell("ip link set near0 gso_max_size 180000")
    try pair.far.shell("ip link set far0 gro_max_size 180000")
    let path = try TCPath(maxFlows: 100)
    _ = try pair.attach(path)
    let ours = try Conversation.tcp(pair)
    _ = try path.set(.mark, ours.key)
    let capture = try Capture("far0", in: pair.far)
    // Room for whole writes, so that TCP has more to send at once than 64 KB.
    try ours.near.set(SOL_SOCKET, Int32(SO_SNDBUFFORCE), 16 << 20)
    try ours.far.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 16 << 20)
    for _ in 0..<6 {
      try ours.near.send([UInt8](repeating: 1, count: 1_000_000))
      var received = 0
      while received < 1_000_000, let bytes = try ours.far.receive() { received += bytes.count }
    }
    let sent = try #require(try path.set(.unmark, ours.key))
    #expect(try capture.frames().of(ours.key).contains { $0.bytes.count > 66_000 }, "BIG TCP was used")
    // Every segment has 40 + 32 bytes of headers (timestamps); FIN and pure ACKs carry no data.
    #expect(
      sent.bytes - 72 * sent.packets >= 6_000_000 && sent.bytes - 72 * sent.packets < 6_010_000, "\(sent)")
  }

  @Test func udpWithSegmentationAndFragments() throws {
    let pair = try VethPair()
    let path = try TCPath(maxFlows: 100)
    _ = try pair.attach(path)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key)
    let capture = try Capture("far0", in: pair.far)
    // Fragmented into four.
    try ours.near.send([UInt8](repeating: 1, count: 5000))
    // UDP_SEGMENT of <linux/udp.h>: one call, twenty datagrams.
    try ours.near.set(Int32(IPPROTO_UDP), 103, 1200)
    try ours.near.send([UInt8](repeating: 2, count: 24_000))
    let frames = try capture.frames().filter { $0.source == ours.key.local.address && $0.transport == 17 }
    #expect(frames.filter(\.isFragment).count == 4)
    #expect(frames.filter { !$0.isFragment }.count == 20)
    #expect(frames.allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask == bits }, "\(frames.map(\.flowLabel))")
    #expect(frames.allSatisfy { $0.checksumsAreRight != false })
    #expect(try path.set(.unmark, ours.key)?.packets == 24)
  }

  @Test func trafficClassAndECNSurvive() throws {
    let pair = try VethPair()
    let path = try TCPath(maxFlows: 100)
    _ = try pair.attach(path)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key)
    let capture = try Capture("far0", in: pair.far)
    for trafficClass in 0...255 as ClosedRange<Int32> {
      try ours.near.set(Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS), trafficClass)
      try ours.near.send([1])
    }
    let frames = try capture.frames().of(ours.key)
    #expect(frames.map(\.trafficClass) == Array(0...255))
    #expect(frames.allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask == bits })
  }

  @Test(arguments: [[0x8100], [0x88a8, 0x8100]] as [[UInt16]]) func tagsInMetadata(tags: [UInt16]) throws {
    let pair = try VethPair()
    let path = try TCPath(maxFlows: 100, hook: .tcx)
    _ = try pair.attach(path)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key)
    // Attached later and in front of ours: the program sees packets as a VLAN device would hand them down. Each
    // goes in front of those before it, so the last attached pushes the inner tag.
    var pushers: [ForeignProgram] = []
    for tag in tags { pushers.append(try ForeignProgram(.pushVLAN(protocol: tag, tag: 0x123))) }
    let links = Links()
    for pusher in pushers { links.hold(try pusher.attachTCX("near0", in: pair.near)) }
    let capture = try Capture("far0", in: pair.far)
    try ours.near.send([1, 2, 3])
    let frames = try capture.frames().of(ours.key)
    #expect(frames.count == 1)
    #expect(frames.first.map { $0.flowLabel & ~FlowLabel.entropyMask } == bits)
    #expect(
      frames.first?.networkOffset == 14 + 4 * (tags.count - 1), "the outer tag is in the socket's metadata")
  }

  @Test func aForeignTCXProgramKeepsRunning() throws {
    let pair = try VethPair()
    let foreign = try ForeignProgram(verdict: 0)
    let link = try foreign.attachTCX("near0", in: pair.near)
    let ours = try Conversation.udp(pair)
    do {
      let path = try TCPath(maxFlows: 100)
      #expect(try pair.attach(path) == .tcx)
      _ = try path.set(.mark, ours.key)
      let capture = try Capture("far0", in: pair.far)
      let runs = try foreign.runs
      for _ in 0..<10 { try ours.near.send([1]) }
      // It ends the chain with "ok": ours has to stand before it.
      #expect(try capture.frames().of(ours.key).allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask == bits })
      #expect(try foreign.runs >= runs + 10)
    }
    let runs = try foreign.runs
    try ours.near.send([1])
    #expect(try foreign.runs > runs, "it outlives ours")
    _ = link.raw
  }

  @Test func aForeignClsactFilterKeepsRunning() throws {
    let pair = try VethPair()
    let foreign = try ForeignProgram(verdict: 0)
    try foreign.attachClsact("near0", priority: 20, in: pair.near)
    let filters = try pair.near.shell("tc filter show dev near0 egress")
    let ours = try Conversation.udp(pair)
    do {
      let path = try TCPath(maxFlows: 100, hook: .clsact)
      _ = try pair.attach(path)
      _ = try path.set(.mark, ours.key)
      let capture = try Capture("far0", in: pair.far)
      let runs = try foreign.runs
      for _ in 0..<10 { try ours.near.send([1]) }
      #expect(try capture.frames().of(ours.key).allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask == bits })
      #expect(try foreign.runs >= runs + 10)
      pair.detach(path)
    }
    #expect(try pair.near.shell("tc filter show dev near0 egress") == filters)
    #expect(try pair.near.shell("tc qdisc show dev near0").contains("clsact"))
  }

  @Test func aClsactThatWasThereStaysAndOneOfOursGoes() throws {
    let pair = try VethPair()
    func qdiscs() throws -> String { try pair.near.shell("tc qdisc show dev near0") }
    let bare = try qdiscs()
    do {
      let path = try TCPath(maxFlows: 100, hook: .clsact)
      _ = try pair.attach(path)
      #expect(try qdiscs().contains("clsact"))
      pair.detach(path)
    }
    #expect(try qdiscs() == bare)
    try pair.near.shell("tc qdisc add dev near0 clsact")
    let empty = try qdiscs()
    do {
      let path = try TCPath(maxFlows: 100, hook: .clsact)
      _ = try pair.attach(path)
      #expect(try pair.near.shell("tc filter show dev near0 egress").contains("marker_ethernet"))
      pair.detach(path)
    }
    #expect(try qdiscs() == empty)
    #expect(try pair.near.shell("tc filter show dev near0 egress") == "")
  }

  @Test(arguments: TCHook.allCases) func aSecondPathTakesOverWithoutAGap(hook: TCHook) throws {
    let pair = try VethPair()
    let ours = try Conversation.udp(pair)
    let first = try TCPath(maxFlows: 100, hook: hook)
    _ = try pair.attach(first)
    _ = try first.set(.mark, ours.key)
    let capture = try Capture("far0", in: pair.far)
    for _ in 0..<5 { try ours.near.send([1]) }
    var usage: Usage?
    try first.readUsage { if $0 == ours.key { usage = $1 } }
    let second = try TCPath(maxFlows: 200, hook: hook)
    let (key, stamp) = (ours.key, try mark())
    try second.takeOver { body in body(key, stamp, usage) }
    _ = try pair.attach(second)
    for _ in 0..<5 { try ours.near.send([1]) }
    pair.detach(first)
    for _ in 0..<5 { try ours.near.send([1]) }
    let labels = try capture.frames().of(ours.key).map { $0.flowLabel & ~FlowLabel.entropyMask }
    #expect(labels == [UInt32](repeating: bits, count: 15))
    #expect(try second.set(.unmark, ours.key)?.packets == 15, "it counts on")
    pair.detach(second)
    #expect(try pair.near.shell("tc filter show dev near0 egress") == "")
  }

  @Test func ourFirstPriorityTaken() throws {
    let pair = try VethPair()
    let foreign = try ForeignProgram(verdict: -1)
    try foreign.attachClsact("near0", priority: 1, in: pair.near)
    // The same priority with another protocol.
    let path = try TCPath(maxFlows: 100, hook: .clsact)
    _ = try pair.attach(path)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key)
    let capture = try Capture("far0", in: pair.far)
    let runs = try foreign.runs
    try ours.near.send([1])
    #expect(try capture.frames().of(ours.key).map { $0.flowLabel & ~FlowLabel.entropyMask } == [bits])
    #expect(try foreign.runs > runs)
  }

  @Test func interfacesWithoutLinkHeader() throws {
    let namespace = try NetworkNamespace()
    let tunnel = try Tunnel(in: namespace)
    try namespace.shell(
      "ip addr add 2001:db8:9::1/64 dev tun0 nodad && ip link set tun0 up && ip -6 route add 2001:db8:a::/64 dev tun0"
    )
    let path = try TCPath(maxFlows: 100)
    let interface = try #require(try namespace.run { try Interface.all() }.first { $0.name == "tun0" })
    #expect(interface.linkHeader == Interface.LinkHeader.none)
    _ = try namespace.run { try path.attach(to: interface) }
    let socket = try LabSocket(
      .udp, in: namespace, bound: Endpoint(try Conversation.address("2001:db8:9::1"), 0))
    let remote = Endpoint(try Conversation.address("2001:db8:a::2"), 7)
    _ = try path.set(.mark, FlowKey(local: socket.local, remote: remote, transport: .udp))
    try socket.send([1, 2, 3], to: remote)
    let packet = try #require(try tunnel.packet { $0.count == 51 })
    #expect(UInt32(packet[1] & 15) << 16 | UInt32(packet[2]) << 8 | UInt32(packet[3]) & 0xff != 0)
    let label = UInt32(packet[1] & 15) << 16 | UInt32(packet[2]) << 8 | UInt32(packet[3])
    #expect(label & ~FlowLabel.entropyMask == bits)
  }

  @Test func linkLayersThatNobodyKnowsAreRefused() {
    let interface = Interface(index: 9, name: "ib0", hardwareType: 32)  // ARPHRD_INFINIBAND
    #expect(interface.linkHeader == nil)
    #expect(throws: BPFError.self) { try TCPath(maxFlows: 10).attach(to: interface) }
  }

  @Test func aFullMapRefusesOneFlowAndKeepsItsNeighbours() throws {
    let path = try TCPath(maxFlows: 3)
    var batch = ChangeBatch()
    let local = Endpoint(try Conversation.address("2001:db8::1"), 1)
    for port in 1...5 as ClosedRange<UInt16> {
      let key = FlowKey(local: local, remote: Endpoint(local.address, port), transport: .udp)
      batch.changes.append(ChangeBatch.Change(.mark, key, try mark()))
    }
    path.apply(&batch)
    #expect(batch.changes.map { $0.failure?.code } == [nil, nil, nil, E2BIG, E2BIG])
    var count = 0
    try path.readUsage { _, _ in count += 1 }
    #expect(count == 3)
  }
}

/// Keeps links attached until the end of a test.
final class Links {
  private final class Held {
    let link: Descriptor
    init(_ link: consuming Descriptor) { self.link = link }
  }
  private var held: [Held] = []
  func hold(_ link: consuming Descriptor) { held.append(Held(link)) }
}
