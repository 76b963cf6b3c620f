import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

/// Extension headers on links of different kinds and sizes.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct HeaderLinkLabTests {
  @Test(
    arguments: ExtensionHeaders.allCases, [[0x8100], [0x88a8], [0x88a8, 0x8100]] as [[UInt16]])
  func tags(headers: ExtensionHeaders, tags: [UInt16]) throws {
    for tcp in [true, false] { try self.tags(headers, tags, tcp) }
  }

  private func tags(_ headers: ExtensionHeaders, _ tags: [UInt16], _ tcp: Bool) throws {
    let pair = try VethPair()
    let path = try TCPath(maxFlows: 100, hook: .tcx, insertsHeaders: true)
    _ = try pair.attach(path)
    let ours = tcp ? try Conversation.tcp(pair) : try Conversation.udp(pair)
    // Attached later and in front of ours, so ours sees packets as VLAN devices would hand them down: the outer tag in
    // the metadata, the inner one in the packet.
    var pushers: [ForeignProgram] = []
    for (index, tag) in tags.enumerated() {
      pushers.append(try ForeignProgram(.pushVLAN(protocol: tag, tag: 0x120 + UInt16(index))))
    }
    _ = try path.set(.mark, ours.key, headers)
    let links = Links()
    for pusher in pushers { links.hold(try pusher.attachTCX("near0", in: pair.near)) }
    let capture = try Capture("far0", in: pair.far)
    // The far side has no VLAN interface and answers nothing.
    let data = [UInt8](repeating: 9, count: tcp ? 20_000 : 500)
    try ours.near.send(data)
    let frames = try capture.frames(quiet: 50).of(ours.key)
    #expect(!frames.isEmpty && frames.allSatisfy { $0.checksumsAreRight == true && $0.length <= 1500 })
    #expect(frames.contains { $0.carries(headers) })
    #expect(frames.allSatisfy { $0.carries(headers) || $0.length > 1500 - 20 - 16 })
    #expect(path.unwritablePackets == 0)
    // The outer tag arrives in the socket's metadata; the inner one stands in the packet with its own identifier.
    #expect(frames.allSatisfy { $0.networkOffset == 14 + 4 * (tags.count - 1) })
    if tags.count == 2 {
      // Pushed by the first to run, which is the last attached.
      #expect(
        frames.allSatisfy { Array($0.bytes[12..<16]) == [0x81, 0x00, 0x01, 0x21] },
        "\(frames[0].bytes.prefix(20))")
    }
  }

  /// From the moment it is told on, the path keeps to another MTU.
  @Test func theMTUChanges() throws {
    let pair = try VethPair(mtu: 2000)
    let path = try headerPath(pair)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key, .hopByHop)
    func isMarked(_ size: Int) throws -> Bool {
      let capture = try Capture("far0", in: pair.far)
      try ours.near.send([UInt8](repeating: 1, count: size))
      let frames = try capture.frames(quiet: 50).of(ours.key)
      #expect(frames.count == 1)
      return frames.first?.carries(.hopByHop) == true
    }
    #expect(try isMarked(1448))
    try pair.near.shell("ip link set near0 mtu 1500")
    try path.setMTU(of: try pair.interface("near0"))
    #expect(try !isMarked(1448))
    #expect(try isMarked(1444))
  }

  /// A path narrower than the link: what TCP cut for it must not grow beyond it, or it is lost for good.
  @Test func aPathNarrowerThanTheLink() throws {
    let pair = try VethPair(mtu: 3000)
    try pair.near.shell("ip -6 route replace 2001:db8::2 dev near0 mtu 1400")
    let path = try headerPath(pair)
    let ours = try Conversation.tcp(pair)
    _ = try path.set(.mark, ours.key, .hopByHopDestination)
    let capture = try Capture("far0", in: pair.far)
    try ours.compare(500_000)
    for _ in 0..<20 {
      try ours.near.send([UInt8](repeating: 1, count: 1328))
      usleep(2000)
    }
    let sent = try capture.frames().of(ours.key)
    #expect(sent.allSatisfy { $0.length <= 1400 } && sent.contains { $0.carries(.hopByHopDestination) })
    #expect(path.tooBigPackets >= 20)
  }

  /// Super-packets beyond 64 KB have a hop-by-hop header of the kernel's own, which nothing may stand beside.
  @Test(arguments: ExtensionHeaders.allCases) func bigTCPIsLeftAlone(headers: ExtensionHeaders) throws {
    let pair = try VethPair(offloads: true)
    try pair.near.shell("ip link set near0 gso_max_size 180000")
    try pair.far.shell("ip link set far0 gro_max_size 180000")
    let path = try headerPath(pair)
    let ours = try Conversation.tcp(pair)
    _ = try path.set(.mark, ours.key, headers)
    let capture = try Capture("far0", in: pair.far)
    // Room for whole writes, so that TCP has more to send at once than 64 KB.
    try ours.near.set(SOL_SOCKET, Int32(SO_SNDBUFFORCE), 16 << 20)
    try ours.far.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 16 << 20)
    for _ in 0..<6 {
      try ours.near.send([UInt8](repeating: 1, count: 1_000_000))
      var received = 0
      while received < 1_000_000 { received += try #require(try ours.far.receive()).count }
    }
    let big = try capture.frames().of(ours.key).filter { $0.bytes.count > 66_000 }
    // RFC 2675 §2: option type 0xc2, four bytes of length.
    #expect(!big.isEmpty && big.allSatisfy { $0.optionHeaders.map { $0.bytes[2] } == [0xc2] })
    #expect(path.tooBigPackets > UInt64(big.count) * 40, "counted by segments")
  }

  @Test func interfacesWithoutLinkHeader() throws {
    let namespace = try NetworkNamespace()
    let tunnel = try Tunnel(in: namespace)
    try namespace.shell(
      "ip addr add 2001:db8:9::1/64 dev tun0 nodad && ip link set tun0 up && ip -6 route add 2001:db8:a::/64 dev tun0"
    )
    let path = try TCPath(maxFlows: 100, insertsHeaders: true)
    let interface = try #require(try namespace.run { try Interface.all() }.first { $0.name == "tun0" })
    _ = try namespace.run { try path.attach(to: interface) }
    let socket = try LabSocket(
      .udp, in: namespace, bound: Endpoint(try Conversation.address("2001:db8:9::1"), 0))
    let remote = Endpoint(try Conversation.address("2001:db8:a::2"), 7)
    _ = try path.set(
      .mark, FlowKey(local: socket.local, remote: remote, transport: .udp), .hopByHopDestination)
    try socket.send([1, 2, 3], to: remote)
    let packet = try #require(try tunnel.packet { $0.count == 67 })
    let frame = try #require(Frame([UInt8](repeating: 0, count: 12) + [0x86, 0xdd] + packet))
    #expect(frame.carries(.hopByHopDestination) && frame.checksumsAreRight == true)
  }

  @Test func ofAnotherKindOfProgramNothingStays() throws {
    let pair = try VethPair()
    let label = try TCPath(maxFlows: 100, hook: .clsact)
    _ = try pair.attach(label)
    let path = try headerPath(pair, hook: .clsact)
    #expect(
      try pair.near.shell("tc filter show dev near0 egress").split(separator: "\n").count(where: {
        $0.contains("handle")
      }) == 1)
    pair.detach(path)
  }
}
