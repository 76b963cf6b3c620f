internal import CLinux
public import Flow
internal import Glibc

/// A veth pair inside one throw-away namespace: what is sent to the remote addresses leaves by `near` and is read from
/// `far` as it came. Marking paths are tried on it.
public struct PrivateLink: ~Copyable {
  /// Documentation addresses (RFC 5737, RFC 3849): nothing outside has them, and nothing gets out.
  public static let local6 = Address(high: 0x2001_0db8_0000_0000, low: 1)
  public static let remote6 = Address(high: 0x2001_0db8_0000_0000, low: 2)
  public static let local4 = Address(ipv4: 0xc000_0201)
  public static let remote4 = Address(ipv4: 0xc000_0202)

  /// The end that the packets leave by.
  public let near: Interface
  /// The end that they arrive at.
  public let far: Interface
  /// The port behind a bridge that `far` belongs to, by which packets leave for the end that is read; nil where `far` itself
  /// is read.
  public let outside: Interface?
  private let capture: Descriptor
  /// How long a packet is waited for, milliseconds. The pair takes microseconds; a host that is short of processor time
  /// takes longer. Where one packet was lost, the next will be.
  private var patience: Int32 = 2000
  private static let patienceAfterLoss: Int32 = 50
  /// After so many milliseconds without a packet it is sent again.
  private static let interval: Int32 = 50
  /// Each trial has a flow of its own.
  private var port: UInt16 = 4000

  /// Makes the pair in the calling thread's namespace, which must be private.
  ///
  /// - Parameter isBridged: whether packets pass a bridge before they are read: `far` and `outside` are its ports.
  public init(isBridged: Bool = false) throws(SystemError) {
    try Self.addPair("near", "far")
    if isBridged {
      try Self.addPair("outside", "end")
      try LinkChange.addBridge(name: "bridge").apply()
      for port in ["far", "outside"] { try LinkChange.join(name: port, bridge: "bridge").apply() }
    }
    for name in ["near", "far"] + (isBridged ? ["outside", "end", "bridge"] : []) {
      try LinkChange.setUp(name: name).apply()
    }
    let near = if_nametoindex("near")
    let far = if_nametoindex("far")
    for (local, remote) in [(Self.local6, Self.remote6), (Self.local4, Self.remote4)] {
      try Self.addAddress(local, to: near)
      try Self.addNeighbour(remote, Self.remoteHardware, to: near)
    }
    if isBridged {
      // Nobody answers from there, so the bridge has to be told who is behind which port.
      try Rtnetlink.run(
        "bridge fdb add 02:00:00:00:00:02 dev outside master static", RTM_NEWNEIGH, NLM_F_CREATE
      ) {
        request in
        var station = ndmsg()
        station.ndm_family = UInt8(AF_BRIDGE)
        station.ndm_ifindex = Int32(if_nametoindex("outside"))
        station.ndm_state = UInt16(NUD_NOARP)
        station.ndm_flags = UInt8(NTF_MASTER)
        request.put(station)
        request.put(Int(NDA_LLADDR), Self.remoteHardware)
      }
    }
    capture = try Self.openCapture(at: isBridged ? if_nametoindex("end") : far)
    self.near = Interface(index: near, name: "near", hardwareType: UInt16(ARPHRD_ETHER), mtu: 1500)
    self.far = Interface(index: far, name: "far", hardwareType: UInt16(ARPHRD_ETHER), mtu: 1500)
    outside =
      isBridged
      ? Interface(
        index: if_nametoindex("outside"), name: "outside", hardwareType: UInt16(ARPHRD_ETHER), mtu: 1500)
      : nil
  }

  /// The hardware addresses of the two ends that packets go between. Locally administered, IEEE 802 §8.4.
  static let localHardware: [UInt8] = [2, 0, 0, 0, 0, 1]
  static let remoteHardware: [UInt8] = [2, 0, 0, 0, 0, 2]

  /// - Parameters:
  ///   - hardware: of the first end, which has a random one else.
  ///   - peerHardware: of the second.
  ///   - namespace: a descriptor of the network namespace that the second end is made in; nil for this one.
  static func addPair(
    _ name: String, _ peer: String, hardware: [UInt8]? = nil, peerHardware: [UInt8]? = nil,
    peerIn namespace: Int32? = nil
  ) throws(SystemError) {
    try Rtnetlink.run("ip link add \(name) type veth peer name \(peer)", RTM_NEWLINK, NLM_F_CREATE) {
      request in
      request.put(ifinfomsg())
      request.put(Int(IFLA_IFNAME), name)
      if let hardware { request.put(Int(IFLA_ADDRESS), hardware) }
      request.nest(Int(IFLA_LINKINFO)) { info in
        info.put(Int(IFLA_INFO_KIND), "veth")
        info.nest(Int(IFLA_INFO_DATA)) { data in
          data.nest(Int(VETH_INFO_PEER)) { end in
            end.put(ifinfomsg())
            end.put(Int(IFLA_IFNAME), peer)
            if let peerHardware { end.put(Int(IFLA_ADDRESS), peerHardware) }
            if let namespace {
              withUnsafeBytes(of: namespace) { end.put(Int(IFLA_NET_NS_FD), Array($0)) }
            }
          }
        }
      }
    }
  }

  /// At once in use: no duplicate address detection.
  static func addAddress(_ address: Address, to device: UInt32) throws(SystemError) {
    try Rtnetlink.run("ip address add \(address) nodad", RTM_NEWADDR, NLM_F_CREATE) { request in
      var message = ifaddrmsg()
      message.ifa_family = UInt8(address.isIPv4 ? AF_INET : AF_INET6)
      message.ifa_prefixlen = address.isIPv4 ? 24 : 64
      message.ifa_index = device
      message.ifa_flags = UInt8(IFA_F_NODAD)
      request.put(message)
      request.put(Int(IFA_LOCAL), address.octets)
      request.put(Int(IFA_ADDRESS), address.octets)
    }
  }

  static func addNeighbour(
    _ address: Address, _ hardware: [UInt8], to device: UInt32
  ) throws(SystemError) {
    try Rtnetlink.run("ip neighbour add \(address)", RTM_NEWNEIGH, NLM_F_CREATE) { request in
      var message = ndmsg()
      message.ndm_family = UInt8(address.isIPv4 ? AF_INET : AF_INET6)
      message.ndm_ifindex = Int32(device)
      message.ndm_state = UInt16(NUD_PERMANENT)
      request.put(message)
      request.put(Int(NDA_DST), address.octets)
      request.put(Int(NDA_LLADDR), hardware)
    }
  }

  /// A packet socket that sees what comes to a device and what it sends, from the IP header on.
  static func openCapture(at device: UInt32) throws(SystemError) -> Descriptor {
    let made = try Descriptor("socket", "AF_PACKET") {
      socket(
        AF_PACKET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
        Int32(UInt16(ETH_P_ALL).bigEndian))
    }
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
    address.sll_ifindex = Int32(device)
    try system("bind", "the far end") {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(made.raw, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
        }
      }
    }
    return made
  }

  mutating func nextPort() -> UInt16 {
    port += 1
    return port
  }

  /// Sends one datagram of a flow.
  public func transmit(_ key: FlowKey) throws(SystemError) {
    if key.transport == .tcp { return try connect(key) }
    let family = key.isIPv4 ? AF_INET : AF_INET6
    let sender = try Descriptor("socket", "UDP") {
      socket(family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    try key.local.withSocketAddress { address, size throws(SystemError) in
      try system("bind", "\(key.local)") { bind(sender.raw, address, size) }
    }
    try key.remote.withSocketAddress { address, size throws(SystemError) in
      try system("sendto", "\(key.remote)") { sendto(sender.raw, "probe", 5, 0, address, size) }
    }
  }

  /// Sends the first packet of a connection, which nobody will answer.
  private func connect(_ key: FlowKey) throws(SystemError) {
    let opener = try Descriptor("socket", "TCP") {
      socket(
        key.isIPv4 ? AF_INET : AF_INET6,
        Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    }
    try key.local.withSocketAddress { address, size throws(SystemError) in
      try system("bind", "\(key.local)") { bind(opener.raw, address, size) }
    }
    do throws(SystemError) {
      try key.remote.withSocketAddress { address, size throws(SystemError) in
        try system("connect", "\(key.remote)") { Glibc.connect(opener.raw, address, size) }
      }
    } catch {
      guard error.code == EINPROGRESS else { throw error }
    }
  }

  /// Sends one packet of a flow and reads it at the far end, from the IP header on; nil where it never came.
  public mutating func send(_ key: FlowKey) throws(SystemError) -> [UInt8]? {
    try transmit(key)
    var packet = [UInt8](repeating: 0, count: 2048)
    var waited: Int32 = 0
    // Other packets than ours: those that IPv6 sends by itself on a new link.
    for _ in 0..<100 {
      var ready = pollfd(fd: capture.raw, events: Int16(POLLIN), revents: 0)
      if try system("poll", "", { poll(&ready, 1, Self.interval) }) == 0 {
        waited += Self.interval
        guard waited < patience else { break }
        // A link that is just up drops what is sent until the kernel has seen its carrier, a second at most.
        try transmit(key)
        continue
      }
      let count = try system("recv", "far") { recv(capture.raw, &packet, packet.count, 0) }
      // With our ports: behind an IPv4 header of 20 bytes, or an IPv6 header of 40 and headers that a path inserted.
      var ports = key.isIPv4 ? 20 : 40
      var next = packet[key.isIPv4 ? 9 : 6]
      while !key.isIPv4, next == UInt8(IPPROTO_HOPOPTS) || next == UInt8(IPPROTO_DSTOPTS), ports + 8 <= count
      {
        next = packet[ports]
        ports += (Int(packet[ports + 1]) + 1) * 8
      }
      guard count >= ports + 8, packet[0] >> 4 == (key.isIPv4 ? 4 : 6), next == key.transport.rawValue,
        UInt16(packet[ports]) << 8 | UInt16(packet[ports + 1]) == key.local.port
      else { continue }
      return Array(packet[..<count])
    }
    patience = Self.patienceAfterLoss
    return nil
  }
}

extension Address {
  /// In network order: four of IPv4, sixteen of IPv6.
  var octets: [UInt8] {
    if let ipv4 { return withUnsafeBytes(of: ipv4.bigEndian) { Array($0) } }
    return withUnsafeBytes(of: high.bigEndian) { Array($0) }
      + withUnsafeBytes(of: low.bigEndian) { Array($0) }
  }
}

extension Endpoint {
  func withSocketAddress(
    _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> Void
  ) throws(SystemError) {
    // sockaddr_in and sockaddr_in6: family, port, then the address at 4 and 8.
    var storage = [UInt8](repeating: 0, count: address.isIPv4 ? 16 : 28)
    withUnsafeBytes(of: sa_family_t(address.isIPv4 ? AF_INET : AF_INET6)) {
      storage.replaceSubrange(0..<2, with: $0)
    }
    withUnsafeBytes(of: port.bigEndian) { storage.replaceSubrange(2..<4, with: $0) }
    let octets = address.octets
    let start = address.isIPv4 ? 4 : 8
    storage.replaceSubrange(start..<(start + octets.count), with: octets)
    try storage.withUnsafeBufferPointer { bytes throws(SystemError) in
      guard let base = bytes.baseAddress else { return }
      try body(UnsafeRawPointer(base).assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
    }
  }
}
