import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

/// The sock path alone: what it keeps to, whom it lives beside, and the less common packets.
@Suite(.enabled(if: geteuid() == 0, "needs root"), .serialized) struct SockScopeLabTests {
  @Test(arguments: SockCase.allCases) func resets(sock: SockCase) throws {
    let lab = try SockLab()
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    let phase = try lab.phase(sock, flow.key) {
      try flow.near.send([1, 2, 3])
      // An end without a word: {on, no seconds}.
      var linger = linger(l_onoff: 1, l_linger: 0)
      setsockopt(
        flow.near.descriptor.raw, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
      // The descriptor is another's afterwards; this one's end goes with the shell's.
      var unspecified = sockaddr(
        sa_family: sa_family_t(AF_UNSPEC), sa_data: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
      connect(flow.near.descriptor.raw, &unspecified, socklen_t(MemoryLayout<sockaddr>.size))
    }
    #expect(phase.resetting.count == 1 && phase.isAllRight)
  }

  /// What is left of a connection in TIME_WAIT keeps the marks; a refusal has no socket to take them from.
  @Test(arguments: SockCase.allCases) func packetsWithoutASocket(sock: SockCase) throws {
    let lab = try SockLab()
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    try flow.transfer(1000)
    let waiting = try lab.phase(sock, flow.key, quiet: 600) {
      shutdown(flow.near.descriptor.raw, Int32(SHUT_RDWR))
      // Its last acknowledgement is lost, so the far end says again that it has ended.
      try lab.lose(1000) { shutdown(flow.far.descriptor.raw, Int32(SHUT_RDWR)) }
    }
    #expect(waiting.frames.count >= 3 && waiting.isAllRight, "\(waiting.right) of \(waiting.frames.count)")
    let far = try LabSocket(.tcp, in: lab.pair.far, bound: try SockLab.end(false, sock.isIPv4, 0))
    let closed = FlowKey(
      local: try SockLab.end(true, sock.isIPv4, 24_000), remote: far.local, transport: .tcp)
    try lab.run { try lab.sock.change(.mark, closed, sock.mark()) }
    let refusal = try lab.phase(sock, closed) { try? far.connect(to: closed.local) }
    #expect(refusal.resetting.count == 1 && refusal.right == 0)
    #expect(lab.sock.needsComplement)
  }

  @Test(arguments: SockCase.allCases) func keepAlives(sock: SockCase) throws {
    let lab = try SockLab()
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    let tcp = Int32(IPPROTO_TCP)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    let phase = try lab.phase(sock, flow.key, quiet: 2500) {
      try flow.near.set(tcp, TCP_KEEPIDLE, 1)
      try flow.near.set(tcp, TCP_KEEPINTVL, 1)
      try flow.near.set(SOL_SOCKET, SO_KEEPALIVE, 1)
      sleep(3)
      try flow.near.set(SOL_SOCKET, SO_KEEPALIVE, 0)
    }
    #expect(phase.frames.count >= 2 && phase.isAllRight)
  }

  @Test(arguments: SockCase.allCases) func probesOfTheMTU(sock: SockCase) throws {
    let lab = try SockLab(settings: "net.ipv4.tcp_mtu_probing=2 net.ipv4.tcp_base_mss=512")
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    let phase = try lab.phase(sock, flow.key) { try flow.transfer(2_000_000) }
    let sizes = Set(phase.frames.map { $0.end - $0.transportOffset })
    #expect(sizes.count > 1 && (sizes.max() ?? 0) > 1000, "it begins small and probes: \(sizes.sorted())")
    #expect(phase.isAllRight)
  }

  @Test(arguments: SockCase.allCases) func superPackets(sock: SockCase) throws {
    let lab = try SockLab(on: try VethPair(offloads: true))
    let flow = try Conversation.tcp(lab.pair, ipv4: sock.isIPv4)
    try lab.run { try lab.sock.change(.mark, flow.key, sock.mark()) }
    let capture = try Capture("far0", in: lab.pair.far)
    try flow.transfer(2_000_000)
    let phase = SockPhase(frames: try capture.frames().of(flow.key), sock: sock)
    #expect(phase.isAllRight && phase.frames.contains { $0.bytes.count > 10_000 })
  }

  /// Each declared before it connects, and ended when it has closed.
  @Test func thousandsOfShortConnections() throws {
    let lab = try SockLab()
    let listener = try LabSocket(.tcp, in: lab.pair.far, bound: try SockLab.end(false, false, 0))
    try listener.listen()
    let capture = try Capture("far0", in: lab.pair.far)
    let (count, sock) = (2000, SockCase.label)
    for round in 0..<count {
      let near = try LabSocket(
        .tcp, in: lab.pair.near, bound: try SockLab.end(true, false, UInt16(20_000 + round)))
      let key = FlowKey(local: near.local, remote: listener.local, transport: .tcp)
      var batch = ChangeBatch()
      batch.changes.append(.init(.mark, key, try sock.mark()))
      lab.sock.apply(&batch)
      try near.connect(to: listener.local)
      let far = try listener.accept()
      try near.send([1])
      _ = try far.receive()
      shutdown(near.descriptor.raw, Int32(SHUT_RDWR))
      _ = try far.receive()
      batch.changes[0] = .init(.unmark, key, try sock.mark())
      lab.sock.apply(&batch)
    }
    let frames = try capture.frames().filter {
      $0.transport == 6 && $0.destinationPort == listener.local.port
    }
    #expect(try capture.dropped() == 0)
    #expect(frames.count >= count * 4 && frames.allSatisfy { sock.fits($0) })
    #expect(lab.sock.counts.stamped == UInt64(count))
  }

  /// One that was there before, one that comes after: all run at every event.
  @Test func besideOthersAtTheSameEvents() throws {
    let (first, last) = (try ForeignProgram(atEvents: ()), try ForeignProgram(atEvents: ()))
    let before = try first.attach(toGroup: ProcessGroup.folder)
    let lab = try SockLab()
    let after = try last.attach(toGroup: ProcessGroup.folder)
    let flow = try Conversation.tcp(lab.pair)
    try lab.run { try lab.sock.change(.mark, flow.key, SockCase.label.mark()) }
    #expect(try lab.phase(.label, flow.key) { try flow.transfer(10_000) }.isAllRight)
    #expect(try first.runs > 5)
    #expect(try last.runs > 5)
    #expect(before.raw >= 0 && after.raw >= 0)
  }

  /// The same addresses and ports in another network namespace are another flow.
  @Test func socketsOfOtherNamespaces() throws {
    let lab = try SockLab()
    let elsewhere = try VethPair()
    let flow = try Conversation.tcp(lab.pair, port: 23_456)
    // The same remote port, too.
    let listener = try LabSocket(.tcp, in: elsewhere.far, bound: flow.key.remote)
    try listener.listen()
    try lab.run { try lab.sock.change(.mark, flow.key, SockCase.label.mark()) }
    let near = try LabSocket(.tcp, in: elsewhere.near, bound: flow.key.local)
    let capture = try Capture("far0", in: elsewhere.far)
    try near.connect(to: listener.local)
    try near.send([UInt8](repeating: 1, count: 10_000))
    let others = try capture.frames().of(flow.key)
    #expect(others.count > 5 && others.allSatisfy { !SockCase.label.fits($0) })
    #expect(try lab.phase(.label, flow.key) { try flow.transfer(10_000) }.isAllRight)
    #expect(lab.sock.counts.stamped == 1)
  }

  /// Sockets that cannot be set are told of, so that tc is there for them.
  @Test func anIPv6SocketThatSpeaksIPv4() throws {
    let lab = try SockLab()
    let script = """
      import socket
      s = socket.socket(socket.AF_INET6)
      s.bind(('::ffff:192.0.2.1', 24000))
      s.connect(('::ffff:192.0.2.2', 24001))
      s.recv(1)
      """
    let listener = try LabSocket(.tcp, in: lab.pair.far, bound: try SockLab.end(false, true, 24_001))
    try listener.listen()
    let child = try lab.pair.near.run { () throws(SystemError) in
      try startShell("exec python3 -c \"\(script)\"")
    }
    let far = try listener.accept()
    let key = FlowKey(
      local: try SockLab.end(true, true, 24_000), remote: listener.local, transport: .tcp)
    try lab.run { try lab.sock.change(.mark, key, SockCase.ipv4CodePoint.mark()) }
    #expect(lab.sock.needsComplement && !lab.sock.isReached(key) && lab.sock.counts.refused == 1)
    try far.send([1])
    waitpid(child, nil, 0)
  }

  /// A flow label that the application leased (IPV6_FLOWLABEL_MGR) goes before the kernel's own.
  @Test func aSocketWithALabelOfItsOwn() throws {
    let lab = try SockLab()
    let script = """
      import socket, struct
      s = socket.socket(socket.AF_INET6)
      far = socket.inet_pton(socket.AF_INET6, '2001:db8::2')
      # struct in6_flowlabel_req: IPV6_FL_A_GET, IPV6_FL_S_ANY, IPV6_FL_F_CREATE
      s.setsockopt(41, 32, far + struct.pack('>I', 0x4321) + struct.pack('=BBHHHI', 0, 255, 1, 60, 60, 0))
      s.setsockopt(41, 33, 1)
      s.bind(('2001:db8::1', 24000))
      s.connect(('2001:db8::2', 24001, 0x4321, 0))
      s.recv(1)
      s.send(b'x')
      """
    let listener = try LabSocket(.tcp, in: lab.pair.far, bound: try SockLab.end(false, false, 24_001))
    try listener.listen()
    let capture = try Capture("far0", in: lab.pair.far)
    let child = try lab.pair.near.run { () throws(SystemError) in
      try startShell("exec python3 -c \"\(script)\"")
    }
    let far = try listener.accept()
    let key = FlowKey(
      local: try SockLab.end(true, false, 24_000), remote: listener.local, transport: .tcp)
    try lab.run { try lab.sock.change(.mark, key, SockCase.label.mark()) }
    #expect(lab.sock.needsComplement && !lab.sock.isReached(key))
    try far.send([1])
    waitpid(child, nil, 0)
    let frames = try capture.frames().of(key)
    #expect(frames.count > 3 && frames.allSatisfy { $0.flowLabel == 0x4321 })
  }

  /// Sockets that send get their own values back when the path goes; the others are counted.
  @Test func release() throws {
    let lab = try SockLab()
    let (busy, idle) = (try Conversation.tcp(lab.pair), try Conversation.tcp(lab.pair))
    let own = try lab.phase(.label, busy.key) { try busy.transfer(1000) }.frames.last
    for flow in [busy, idle] {
      try lab.run { try lab.sock.change(.mark, flow.key, SockCase.labelAndCodePoint.mark()) }
      #expect(try lab.phase(.labelAndCodePoint, flow.key) { try flow.transfer(1000) }.isAllRight)
    }
    let blast = try Blast([busy.near])
    var left: Int?
    try lab.run { left = try lab.sock.release(within: 2000) }
    blast.stop()
    #expect(left == 1)
    let after = try lab.phase(.label, busy.key) { try busy.near.send([1]) }
    #expect(after.frames.allSatisfy { $0.flowLabel == own?.flowLabel && $0.dscp == 0 })
    // The next packet, whenever.
    let late = try lab.phase(.label, idle.key) { try idle.near.send([1]) }
    #expect(late.frames.allSatisfy { !SockCase.label.fits($0) && $0.dscp == 0 })
  }

  /// What a killed daemon left in a socket is not taken for the socket's own.
  @Test func afterADaemonThatWasKilled() throws {
    let pair = try VethPair()
    let flow = try Conversation.tcp(pair)
    do {
      let lab = try SockLab(on: pair)
      try lab.run { try lab.sock.change(.mark, flow.key, SockCase.label.mark()) }
      #expect(try lab.phase(.label, flow.key) { try flow.transfer(1000) }.isAllRight)
    }
    let lab = try SockLab(on: pair)
    try lab.run { try lab.sock.change(.mark, flow.key, SockCase.label.mark(0x30038)) }
    let other = try lab.phase(.label, flow.key) { try flow.transfer(1000) }
    #expect(other.frames.allSatisfy { SockCase.label.fits($0, 0x30038) })
    try lab.run { try lab.sock.change(.unmark, flow.key, SockCase.label.mark(0x30038)) }
    let after = try lab.phase(.label, flow.key) { try flow.transfer(1000) }
    #expect(
      after.frames.allSatisfy { !SockCase.label.fits($0) && !SockCase.label.fits($0, 0x30038) })
  }

  @Test(arguments: [
    "auto_flowlabels=2", "auto_flowlabels=3", "auto_flowlabels=0", "flowlabel_state_ranges=1",
  ])
  func settings(setting: String) throws {
    let lab = try SockLab(settings: "net.ipv6.\(setting)")
    let flow = try Conversation.tcp(lab.pair)
    let mark = Mark(label: LabelStamp(try #require(FlowLabel(SockCase.tag | 3)), .flow))
    for entropy in LabelEntropy.allCases {
      var finding = Finding.untried()
      try lab.run {
        finding = SockConditions.label(entropy)
        try lab.sock.change(.mark, flow.key, entropy == .flow ? mark : SockCase.label.mark())
      }
      let phase = try lab.phase(.label, flow.key) { try flow.transfer(10_000) }
      if setting.hasPrefix("auto_flowlabels=0") {
        #expect(finding.isNo && finding.answer.contains("auto_flowlabels") && phase.right == 0)
      } else if setting.hasPrefix("flowlabel") && entropy == .flow {
        // The tag is right, and a free bit is not what was drawn.
        #expect(finding.isNo && finding.answer.contains("flowlabel_state_ranges") && phase.isAllRight)
        #expect(phase.frames.allSatisfy { $0.flowLabel == UInt32(SockCase.tag | 3 | 0x80000) })
      } else {
        #expect(finding.isYes && phase.isAllRight)
        #expect(entropy == .kernel || phase.frames.allSatisfy { $0.flowLabel == UInt32(SockCase.tag | 3) })
      }
    }
  }

  @Test func theProbeReadsItBack() {
    let abilities = SockPath.probe()
    #expect(Set(abilities.stamps.keys) == Set(Stamp.rewriting))
    #expect(abilities.stamps.values.allSatisfy { $0.isYes }, "\(abilities.stamps)")
    #expect(abilities.fixesHash.isYes && abilities.findsSockets.isYes)
  }
}
