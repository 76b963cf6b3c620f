import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

/// The sock path alone: every moment of a connection's life, judged on the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root"), .serialized) struct SockPathLabTests {
  /// A flow that is declared before it connects is marked from its SYN on, to its last packet.
  @Test(arguments: SockCase.allCases) func fromTheFirstPacketToTheLast(sock: SockCase) throws {
    let lab = try SockLab()
    let listener = try LabSocket(.tcp, in: lab.pair.far, bound: try SockLab.end(false, sock.isIPv4, 0))
    try listener.listen()
    let near = try LabSocket(.tcp, in: lab.pair.near, bound: try SockLab.end(true, sock.isIPv4, 0))
    let key = FlowKey(local: near.local, remote: listener.local, transport: .tcp)
    try lab.run { try lab.sock.change(.mark, key, sock.mark()) }
    #expect(lab.sock.needsComplement, "there is no socket yet")
    let opening = try lab.phase(sock, key) { try near.connect(to: listener.local) }
    #expect(opening.synchronising.count == 1 && opening.frames.count == 2 && opening.isAllRight)
    #expect(lab.sock.isReached(key))
    let flow = Conversation(near: near, far: try listener.accept(), key: key)
    let transfer = try lab.phase(sock, key) { try flow.transfer(500_000) }
    #expect(transfer.frames.count > 300 && transfer.isAllRight)
    // What only acknowledges.
    let receiving = try lab.phase(sock, key) {
      try flow.far.send([UInt8](repeating: 1, count: 50_000))
      while try flow.near.receive(within: 100) != nil {}
    }
    #expect(receiving.isAllRight)
    let closing = try lab.phase(sock, key, quiet: 300) {
      shutdown(flow.near.descriptor.raw, Int32(SHUT_RDWR))
      shutdown(flow.far.descriptor.raw, Int32(SHUT_RDWR))
    }
    #expect(closing.finishing.count == 1 && closing.isAllRight)
  }

  @Test(arguments: SockCase.allCases, [false, true]) func retransmissions(sock: SockCase, old: Bool) throws {
    let lab = try SockLab(without: old ? [.fixedHash, .namespaces] : [])
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    let phase = try lab.phase(sock, flow.key, quiet: 700) {
      try flow.transfer(100_000)
      // Long enough for timeouts to pass one after the other, at which the kernel draws another hash.
      try lab.lose(1500) { try flow.near.send([UInt8](repeating: 2, count: 20_000)) }
      var received = 0
      while received < 20_000, let bytes = try flow.far.receive(within: 5000) { received += bytes.count }
      #expect(received == 20_000)
      try flow.transfer(100_000)
    }
    #expect(phase.repeated.count >= 3 && phase.isAllRight, "\(phase.right) of \(phase.frames.count)")
    #expect(lab.sock.counts.rehashing == (old && sock.hasLabel ? 1 : 0))
  }

  /// The accepting side: only its SYN-ACK has no socket yet.
  @Test(arguments: SockCase.allCases) func accepted(sock: SockCase) throws {
    let lab = try SockLab()
    let listener = try LabSocket(.tcp, in: lab.pair.near, bound: try SockLab.end(true, sock.isIPv4, 0))
    try listener.listen()
    let far = try LabSocket(.tcp, in: lab.pair.far, bound: try SockLab.end(false, sock.isIPv4, 0))
    let key = FlowKey(local: listener.local, remote: far.local, transport: .tcp)
    try lab.run { try lab.sock.change(.mark, key, sock.mark()) }
    var near: LabSocket?
    let phase = try lab.phase(sock, key) {
      try far.connect(to: listener.local)
      near = try listener.accept()
      try near?.send([UInt8](repeating: 1, count: 100_000))
      while try far.receive(within: 200) != nil {}
    }
    let first = try #require(phase.frames.first)
    #expect(phase.synchronising.count == 1 && phase.flags(first) & 2 != 0 && !sock.fits(first))
    let rest = phase.frames.dropFirst()
    #expect(rest.count > 50 && rest.allSatisfy { sock.fits($0) })
    if sock.hasLabel {
      // The free bits are those that the kernel gave the connection, so tc, which marks the SYN-ACK, makes the same label.
      let entropy = first.flowLabel & FlowLabel.entropyMask
      #expect(rest.allSatisfy { $0.flowLabel & FlowLabel.entropyMask == entropy })
    }
    withExtendedLifetime(near) {}
  }

  /// A flow that is declared while its connection is there is marked from the next packet on; the socket may be older
  /// than the path. At its end the socket has its own values again.
  @Test(arguments: SockCase.allCases, [false, true]) func declaredLater(sock: SockCase, older: Bool) throws {
    let pair = try VethPair()
    let early = older ? try Conversation.tcp(pair, ipv4: sock.isIPv4) : nil
    if let early { try early.transfer(10_000) }
    let lab = try SockLab(on: pair)
    let flow = try early ?? Conversation.tcp(pair, ipv4: sock.isIPv4)
    try flow.near.set(SOL_SOCKET, SO_PRIORITY, 5)
    let before = try lab.phase(sock, flow.key) { try flow.transfer(10_000) }
    let own = try #require(before.frames.last)
    #expect(before.right == 0 && before.frames.allSatisfy { $0.flowLabel == own.flowLabel && $0.dscp == 0 })
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    #expect(!lab.sock.needsComplement && lab.sock.isReached(flow.key))
    // Packets that only acknowledge, first of all.
    let receiving = try lab.phase(sock, flow.key) {
      try flow.far.send([UInt8](repeating: 1, count: 10_000))
      while try flow.near.receive(within: 100) != nil {}
    }
    #expect(receiving.isAllRight)
    let marked = try lab.phase(sock, flow.key) { try flow.transfer(100_000) }
    #expect(marked.isAllRight)
    #expect(try flow.near.get(SOL_SOCKET, SO_PRIORITY) == 5)
    // Another tag, then none.
    try lab.run { try lab.sock.change(.remark, flow.key, sock.mark(0x30038, 10)) }
    let other = try lab.phase(sock, flow.key) { try flow.transfer(100_000) }
    #expect(!other.frames.isEmpty && other.frames.allSatisfy { sock.fits($0, 0x30038, 10) })
    try lab.run { try lab.sock.change(.unmark, flow.key, sock.mark(0x30038, 10)) }
    let after = try lab.phase(sock, flow.key) { try flow.transfer(100_000) }
    #expect(after.frames.allSatisfy { $0.flowLabel == own.flowLabel && $0.dscp == own.dscp })
    let txrehash: Int32 = 74  // SO_TXREHASH
    #expect(try flow.near.get(SOL_SOCKET, txrehash) == 1)
    #expect(try flow.near.get(SOL_SOCKET, SO_PRIORITY) == 5)
    #expect(lab.sock.counts.restored == 1)
  }

  /// Kernels whose sockets cannot be found: within a round trip, and no wrong label on the way.
  @Test(arguments: SockCase.allCases) func withoutFindingSockets(sock: SockCase) throws {
    let pair = try VethPair()
    let older = try Conversation.tcp(pair, ipv4: sock.isIPv4)
    let lab = try SockLab(on: pair, without: [.iterator, .fixedHash, .namespaces])
    let flow = try Conversation.tcp(pair, ipv4: sock.isIPv4)
    let own = try lab.phase(sock, flow.key) { try flow.transfer(10_000) }.frames.last
    for key in [flow.key, older.key] { try lab.run { try lab.sock.change(.mark, key, sock.mark()) } }
    #expect(lab.sock.needsComplement)
    let first = try lab.phase(sock, flow.key) { try flow.transfer(10_000) }
    #expect(first.wrong(own) == 0)
    #expect(try lab.phase(sock, flow.key) { try flow.transfer(100_000) }.isAllRight)
    #expect(lab.sock.isReached(flow.key))
    #expect(try lab.phase(sock, older.key) { try older.transfer(10_000) }.right == 0)
    #expect(!lab.sock.isReached(older.key))
    try lab.run { try lab.sock.change(.unmark, flow.key, sock.mark()) }
    try flow.transfer(10_000)
    let after = try lab.phase(sock, flow.key) { try flow.transfer(100_000) }
    #expect(after.frames.allSatisfy { $0.flowLabel == own?.flowLabel && $0.dscp == 0 })
  }

  @Test(arguments: [SockCase.ipv6CodePoint, .ipv4CodePoint]) func theApplicationsOwnDSCP(sock: SockCase)
    throws
  {
    let lab = try SockLab()
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    let (level, option) =
      sock.isIPv4 ? (Int32(IPPROTO_IP), Int32(IP_TOS)) : (Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS))
    try flow.near.set(level, option, 10 << 2)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark(onlyIfUnset: true)) }
    #expect(try lab.phase(sock, flow.key) { try flow.transfer(10_000) }.frames.allSatisfy { $0.dscp == 10 })
    #expect(!lab.sock.needsComplement)
    try lab.run { try lab.sock.change(.remark, flow.key, sock.mark(onlyIfUnset: false)) }
    #expect(try lab.phase(sock, flow.key) { try flow.transfer(10_000) }.isAllRight)
    // Its last word holds.
    try flow.near.set(level, option, 12 << 2)
    try lab.run { try lab.sock.change(.unmark, flow.key, sock.mark()) }
    #expect(try lab.phase(sock, flow.key) { try flow.transfer(10_000) }.frames.allSatisfy { $0.dscp == 12 })
  }

  @Test(arguments: [SockCase.ipv6CodePoint, .ipv4CodePoint]) func theECNBitsStayTCPs(sock: SockCase) throws {
    let lab = try SockLab(settings: "net.ipv4.tcp_ecn=1")
    try lab.pair.far.shell("sysctl -qw net.ipv4.tcp_ecn=1")
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    let marked = try lab.phase(sock, flow.key) { try flow.transfer(50_000) }
    #expect(marked.isAllRight && marked.frames.contains { $0.ecn == 2 })
    try lab.run { try lab.sock.change(.unmark, flow.key, sock.mark()) }
    let after = try lab.phase(sock, flow.key) { try flow.transfer(50_000) }
    #expect(after.frames.contains { $0.trafficClass == 2 } && after.frames.allSatisfy { $0.dscp == 0 })
  }
}
