internal import CLinux
public import Flow
internal import Glibc

/// Two throw-away namespaces joined by veth, between which real connections are made: what is sent to the remote
/// addresses leaves by `near`, is captured at the far end as it came, and answered there.
///
/// Neither namespace has a name. Both go with this process's descriptors and threads, however it ends.
public final class PrivatePair {
  /// The end that packets leave by, in the calling thread's namespace.
  public let near: Interface
  /// The ports of a bridge on the way, in the calling thread's namespace; nil without.
  public let ports: (inside: String, outside: String)?
  private let remote: Descriptor
  private let capture: Descriptor
  private var port: UInt16 = 5000

  /// What happened to the packets of one conversation.
  struct Outcome {
    /// From the IP header on, those that came to the far end.
    var packets: [[UInt8]]
    /// Whether all that was sent has arrived unchanged.
    var isWhole: Bool
  }

  private static let service: UInt16 = 4009
  /// Bytes of a TCP transfer: several segments, and super-packets where the device takes those.
  private static let transfer = 20_000
  private static let datagrams = 5
  private static let datagram = 1000
  /// Seconds. Packets take microseconds; a host that is short of processor time takes longer.
  private static let patience = 2

  /// Makes both, the near one being the calling thread's namespace, which must be private.
  public init(isBridged: Bool = false) throws(SystemError) {
    let path = "/proc/thread-self/ns/net"
    let remote = try inPrivateNamespace { () throws(SystemError) in
      try Descriptor("open", path) { open(path, O_RDONLY | O_CLOEXEC) }
    }
    let end = "end"
    if isBridged {
      try PrivateLink.addPair("near", "inside", hardware: PrivateLink.localHardware)
      try PrivateLink.addPair(
        "outside", end, peerHardware: PrivateLink.remoteHardware, peerIn: remote.raw)
      try LinkChange.addBridge(name: "bridge").apply()
      for port in ["inside", "outside"] { try LinkChange.join(name: port, bridge: "bridge").apply() }
    } else {
      try PrivateLink.addPair(
        "near", end, hardware: PrivateLink.localHardware, peerHardware: PrivateLink.remoteHardware,
        peerIn: remote.raw)
    }
    for name in isBridged ? ["near", "inside", "outside", "bridge"] : ["near"] {
      try LinkChange.setUp(name: name).apply()
    }
    let index = if_nametoindex("near")
    for (local, far) in Self.addresses {
      try PrivateLink.addAddress(local, to: index)
      try PrivateLink.addNeighbour(far, PrivateLink.remoteHardware, to: index)
    }
    capture = try inNamespace(remote.raw) { () throws(SystemError) in
      for name in ["lo", end] { try LinkChange.setUp(name: name).apply() }
      let index = if_nametoindex(end)
      for (local, far) in Self.addresses {
        try PrivateLink.addAddress(far, to: index)
        try PrivateLink.addNeighbour(local, PrivateLink.localHardware, to: index)
      }
      return try PrivateLink.openCapture(at: index)
    }
    self.remote = remote
    near = Interface(index: index, name: "near", hardwareType: UInt16(ARPHRD_ETHER), mtu: 1500)
    ports = isBridged ? ("inside", "outside") : nil
    try waitForCarrier()
  }

  private static var addresses: [(Address, Address)] {
    [(PrivateLink.local6, PrivateLink.remote6), (PrivateLink.local4, PrivateLink.remote4)]
  }

  /// A link that is just up drops what is sent until the kernel has seen its carrier, and a bridge waits too.
  private func waitForCarrier() throws(SystemError) {
    for isIPv4 in [false, true] {
      for attempt in 0...40 {
        if try converse(key(.udp, isIPv4: isIPv4), milliseconds: 50).isWhole { break }
        if attempt == 40 { throw SystemError("send over the private link", code: ENETUNREACH) }
      }
    }
  }

  func key(_ transport: TransportProtocol, isIPv4: Bool) -> FlowKey {
    port += 1
    return FlowKey(
      local: Endpoint(isIPv4 ? PrivateLink.local4 : PrivateLink.local6, port),
      remote: Endpoint(isIPv4 ? PrivateLink.remote4 : PrivateLink.remote6, Self.service), transport: transport
    )
  }

  /// Opens a connection or sends datagrams, from the near end to the far one, and says what came there.
  func converse(_ key: FlowKey, milliseconds: Int = PrivatePair.patience * 1000) throws(SystemError)
    -> Outcome
  {
    while try packet() != nil {}
    let isWhole =
      key.transport == .tcp ? try transfer(key, milliseconds) : try sendDatagrams(key, milliseconds)
    var packets: [[UInt8]] = []
    while let packet = try packet() {
      if Self.belongs(packet, to: key) { packets.append(packet) }
    }
    return Outcome(packets: packets, isWhole: isWhole)
  }

  private func transfer(_ key: FlowKey, _ milliseconds: Int) throws(SystemError) -> Bool {
    let listener = try remoteSocket(key, SOCK_STREAM, milliseconds)
    try system("listen") { listen(listener.raw, 1) }
    let client = try Self.socket(key.local, SOCK_STREAM, milliseconds)
    let sent = (0..<Self.transfer).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    do throws(SystemError) {
      try key.remote.withSocketAddress { address, size throws(SystemError) in
        try system("connect", "\(key.remote)") { connect(client.raw, address, size) }
      }
      let server = try Descriptor("accept") { accept(listener.raw, nil, nil) }
      try Self.setPatience(server.raw, milliseconds)
      var done = 0
      while done < sent.count {
        done += try system("send") {
          sent.withUnsafeBytes {
            send(client.raw, $0.baseAddress.map { $0 + done }, $0.count - done, Int32(MSG_NOSIGNAL))
          }
        }
      }
      try system("shutdown") { shutdown(client.raw, Int32(SHUT_WR)) }
      var received: [UInt8] = []
      var room = [UInt8](repeating: 0, count: Self.transfer)
      while received.count <= sent.count {
        let count = try system("recv") { recv(server.raw, &room, room.count, 0) }
        if count == 0 { break }
        received += room[..<count]
      }
      return received == sent
    } catch {
      guard Self.isLoss(error.code) else { throw error }
      return false
    }
  }

  private func sendDatagrams(_ key: FlowKey, _ milliseconds: Int) throws(SystemError) -> Bool {
    let server = try remoteSocket(key, SOCK_DGRAM, milliseconds)
    let client = try Self.socket(key.local, SOCK_DGRAM, milliseconds)
    var room = [UInt8](repeating: 0, count: 2 * Self.datagram)
    for number in 0..<Self.datagrams {
      let sent = [UInt8](repeating: UInt8(number), count: Self.datagram)
      do throws(SystemError) {
        try key.remote.withSocketAddress { address, size throws(SystemError) in
          try system("sendto", "\(key.remote)") { sendto(client.raw, sent, sent.count, 0, address, size) }
        }
        let count = try system("recv") { recv(server.raw, &room, room.count, 0) }
        guard room[..<count] == sent[...] else { return false }
      } catch {
        guard Self.isLoss(error.code) else { throw error }
        return false
      }
    }
    return true
  }

  /// What a call answers where packets do not come.
  private static func isLoss(_ code: Int32) -> Bool {
    [EAGAIN, EINPROGRESS, ETIMEDOUT, ECONNRESET, EPIPE, ENETUNREACH, EHOSTUNREACH].contains(code)
  }

  private func remoteSocket(
    _ key: FlowKey, _ type: __socket_type, _ milliseconds: Int
  ) throws(SystemError) -> Descriptor {
    try inNamespace(remote.raw) { () throws(SystemError) in
      try Self.socket(key.remote, type, milliseconds)
    }
  }

  private static func socket(
    _ local: Endpoint, _ type: __socket_type, _ milliseconds: Int
  ) throws(SystemError) -> Descriptor {
    let made = try Descriptor("socket", "\(local)") {
      Glibc.socket(
        local.address.isIPv4 ? AF_INET : AF_INET6, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    var on: Int32 = 1
    try system("setsockopt", "SO_REUSEADDR") {
      setsockopt(made.raw, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    }
    try setPatience(made.raw, milliseconds)
    try local.withSocketAddress { address, size throws(SystemError) in
      try system("bind", "\(local)") { bind(made.raw, address, size) }
    }
    return made
  }

  private static func setPatience(_ socket: Int32, _ milliseconds: Int) throws(SystemError) {
    var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      try system("setsockopt", "a time limit") {
        setsockopt(socket, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
      }
    }
  }

  /// One that is there.
  private func packet() throws(SystemError) -> [UInt8]? {
    var room = [UInt8](repeating: 0, count: 1 << 17)
    do throws(SystemError) {
      let count = try system("recv", "the capture") {
        recv(capture.raw, &room, room.count, Int32(MSG_DONTWAIT))
      }
      return Array(room[..<count])
    } catch {
      guard error.code == EAGAIN else { throw error }
      return nil
    }
  }

  /// Whether it goes from local to remote; there are no extension headers here.
  private static func belongs(_ packet: [UInt8], to key: FlowKey) -> Bool {
    let ports = key.isIPv4 ? 20 : 40
    guard packet.count >= ports + 4, packet[0] >> 4 == (key.isIPv4 ? 4 : 6),
      packet[key.isIPv4 ? 9 : 6] == key.transport.rawValue
    else { return false }
    return UInt16(packet[ports]) << 8 | UInt16(packet[ports + 1]) == key.local.port
  }
}

extension PrivatePair {
  /// Has a path mark a flow, sends its packets over the pair, and reads the mark of each at the far end; and sends those of
  /// another flow, which must not have it.
  ///
  /// - Parameters:
  ///   - stamp: of `Stamp.rewriting`.
  ///   - path: marks what leaves by `near`.
  public func finding(
    of stamp: Stamp, by path: any MarkingPath, on transport: TransportProtocol
  ) throws(SystemError) -> Finding {
    guard let mark = PrivateLink.mark(stamp) else { return .untried("no mark for \(stamp.rawValue)") }
    let isIPv4 = stamp.families == .ipv4
    let (key, other) = (key(transport, isIPv4: isIPv4), key(transport, isIPv4: isIPv4))
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, key, mark))
    path.apply(&batch)
    if let failure = batch.changes[0].failure {
      return .no("the mark was refused: \(String(cString: strerror(failure.code)))")
    }
    let marked = try converse(key)
    let unmarked = try converse(other)
    var end = ChangeBatch()
    end.changes.append(ChangeBatch.Change(.unmark, key, mark))
    path.apply(&end)
    guard marked.isWhole else {
      return .no("the mark was taken, but not all that was sent arrived", needs: "another path")
    }
    for packet in marked.packets {
      if let fault = PrivateLink.fault(in: packet, stamp) {
        return .no("the mark was taken, but a packet left with \(fault)", needs: "another path")
      }
    }
    guard !marked.packets.isEmpty, unmarked.isWhole, !unmarked.packets.isEmpty else {
      return .no("packets were not seen at the far end")
    }
    if unmarked.packets.contains(where: { PrivateLink.fault(in: $0, stamp) == nil }) {
      return .no("packets of another flow were marked too", needs: "another path")
    }
    return .yes("\(marked.packets.count) packets")
  }
}
