import CLinux
import Flow
import Foundation
import Glibc
import Lab
import Linux
import Testing

private let near = "2001:db8::1"
private let far = "2001:db8::2"

/// The daemon on the near end of a pair, and a collector on the far end.
private struct Watched {
  let pair: VethPair
  let marker: MarkerProcess
  let ear: LabSocket

  init(_ more: String = "", fireflies: String = "", pair made: VethPair? = nil) throws {
    pair = try made ?? VethPair()
    ear = try LabSocket(.udp, in: pair.far, bound: Endpoint(try Conversation.address(far), 10514))
    try ear.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 128 << 20)
    marker = try MarkerProcess(
      "run --config CONFIG",
      configuration: """
        interfaces: [near0]
        pipes: [PIPE]
        fireflies: {collectors: ["[\(far)]:10514"], remoteEnds: false, \(fireflies)}
        \(more)
        """, in: pair.near)
  }

  func heard(quiet: Int32 = 400) throws -> [Heard] {
    var heard: [Heard] = []
    // A flow that goes on for ever would never be quiet.
    let start = MonotonicTime.now()
    while let datagram = try ear.receive(within: quiet) {
      heard.append(try Heard(datagram))
      if MonotonicTime.now().microseconds(since: start) > 15_000_000 { break }
    }
    return heard
  }

  func line(_ state: String, _ key: FlowKey, inbound: Bool = false) -> String {
    let (source, destination) = inbound ? (key.remote, key.local) : (key.local, key.remote)
    return "\(state) \(key.transport.name) \(source.address) \(source.port) \(destination.address) "
      + "\(destination.port) 2 17\n"
  }
}

private func wallClock() -> Double { Double(WallClockTime.now().microseconds) / 1e6 }

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct SocketLabTests {
  @Test(arguments: [false, true]) func oneSocketByItsAddresses(ipv4: Bool) throws {
    let pair = try VethPair()
    let flow = try Conversation.tcp(pair, ipv4: ipv4)
    try flow.transfer(1_000_000)
    // The last acknowledgement.
    usleep(100_000)
    let inode = Int(
      try shell("stat -Lc %i /proc/\(getpid())/fd/\(flow.near.descriptor.raw)").filter(\.isNumber))
    try pair.near.run {
      let dump = try SocketDump()
      let found = try #require(
        try dump.one(flow.key) { ($0.tcpInfo, Int($0.inode), $0.uid, $0.cookie, $0.state) })
      #expect(found.1 == inode && found.2 == 0 && found.3 != 0 && found.4 == .established)
      let info = try #require(found.0)
      let bytes = try #require(info.bytes)
      let payload = (info[.bytesSent] ?? 0) - (info[.bytesRetransmitted] ?? 0)
      #expect(bytes.sent >= 1_000_000 && bytes.sent == payload && bytes.received == 0)
      #expect(info[.state] == 1 && (info[.rtt] ?? 0) > 0 && (info[.congestionWindow] ?? 0) > 0)
      #expect(["cubic", "reno", "bbr"].contains(info.congestion))
      var seen = 0
      try dump.forEach(.tcp) { if $0.key == flow.key { seen += 1 } }
      #expect(seen == 1)
      let other = FlowKey(
        local: flow.key.local, remote: Endpoint(flow.key.remote.address, 9), transport: .tcp)
      #expect(try dump.one(other) { _ in true } == nil)
    }
  }

  @Test func mappedAndUDPSockets() throws {
    let pair = try VethPair()
    let listener = try LabSocket(
      .tcp, in: pair.far, bound: Endpoint(try Conversation.address(VethPair.far4), 0))
    try listener.listen()
    let udp = try Conversation.udp(pair)
    try pair.near.run {
      // An IPv6 socket to an IPv4 address.
      let mapped = try Descriptor("socket") { socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0) }
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = listener.local.port.bigEndian
      withUnsafeMutableBytes(of: &address.sin6_addr) {
        $0.storeBytes(
          of: UInt64(0xffff_0000_0000 | UInt64(listener.local.address.ipv4 ?? 0)).bigEndian, toByteOffset: 8,
          as: UInt64.self)
      }
      let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(mapped.raw, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
        }
      }
      #expect(result == 0)
      let dump = try SocketDump()
      var keys: [FlowKey] = []
      try dump.forEach(.tcp) { keys.append($0.key) }
      #expect(keys.count == 1 && keys[0].isIPv4 && keys[0].remote == listener.local)
      #expect(try dump.one(keys[0]) { $0.tcpInfo?.bytes } != nil)
      var connected: [FlowKey] = []
      try dump.forEach(.udp) { connected.append($0.key) }
      #expect(connected == [udp.key])
    }
  }

  @Test(arguments: [false, true]) func bothDirectionsAsTheAnnouncedSourceSeesThem(inbound: Bool) throws {
    let lab = try Watched()
    let flow = try Conversation.tcp(lab.pair)
    try lab.marker.tell(lab.line("start", flow.key, inbound: inbound))
    #expect(try lab.heard().map(\.state) == ["start"])
    try flow.transfer(3_000_000)
    try flow.far.send([UInt8](repeating: 1, count: 700))
    #expect(try flow.near.receive()?.count == 700)
    let sent = Int(
      try lab.pair.near.run { try SocketDump().one(flow.key) { $0.tcpInfo?.bytes?.sent } ?? nil } ?? 0)
    try lab.marker.tell(lab.line("end", flow.key, inbound: inbound))
    let end = try #require(try lab.heard().first)
    #expect(sent >= 3_000_000)
    #expect(end.state == "end" && (inbound ? end.received : end.sent) == sent)
    #expect((inbound ? end.sent : end.received) == 700)
    #expect(end.source == (inbound ? far : near) && end.netlink.isEmpty)
    #expect(end.time("start-time") != nil && end.time("end-time") != nil)
  }

  @Test func aFlowEndsWithItsSocket() throws {
    let lab = try Watched(fireflies: "enrichment: compatible")
    var key: FlowKey?
    var closed = 0.0
    do {
      let flow = try Conversation.tcp(lab.pair)
      key = flow.key
      try lab.marker.tell(lab.line("start", flow.key))
      #expect(try lab.heard().map(\.state) == ["start"])
      try flow.transfer(2_000_000)
      closed = wallClock()
    }
    let end = try lab.heard()
    #expect(end.map(\.state) == ["end"])
    let last = try #require(end.first)
    let time = try #require(last.time("end-time"))
    #expect(abs(time - closed) < 0.15, "\(time - closed) s")
    #expect((2_000_000...2_060_000).contains(last.sent ?? 0) && (last.received ?? 9) <= 1)
    #expect(last.netlink["rtt"] is Double || last.netlink["rtt"] is Int, "\(last.netlink)")
    // Its source is slower.
    try lab.marker.tell(lab.line("end", try #require(key)))
    #expect(try lab.heard().isEmpty)
    #expect(lab.marker.stop() == 0)
    #expect(try lab.heard().isEmpty)
  }

  @Test func unlessItIsToldNotTo() throws {
    let lab = try Watched("flows: {endWithSocket: false}")
    var key: FlowKey?
    do {
      let flow = try Conversation.tcp(lab.pair)
      key = flow.key
      try lab.marker.tell(lab.line("start", flow.key))
      #expect(try lab.heard().count == 1)
      try flow.transfer(100_000)
    }
    #expect(try lab.heard().isEmpty)
    try lab.marker.tell(lab.line("end", try #require(key)))
    let end = try lab.heard()
    #expect(end.count == 1 && (end.first?.sent ?? 0) >= 100_000, "what the socket said last is known")
  }

  @Test func aFlowWithoutASocketHereIsLeftAlone() throws {
    let lab = try Watched()
    // The socket is in another namespace: on the way through, as with a container.
    let flow = try Conversation.tcp(lab.pair)
    let routed = FlowKey(
      local: Endpoint(try Conversation.address("2001:db8:9::1"), flow.key.local.port),
      remote: flow.key.remote,
      transport: .tcp)
    try lab.marker.tell(lab.line("start", routed) + lab.line("start", flow.key))
    #expect(try lab.heard().count == 2)
    // Others' sockets come and go.
    for _ in 0..<20 { _ = try Conversation.tcp(lab.pair) }
    #expect(try lab.heard().isEmpty)
    try lab.marker.tell(lab.line("end", routed))
    #expect(try lab.heard().map(\.state) == ["end"])
  }

  @Test func ongoingFirefliesTellOfBothDirections() throws {
    let lab = try Watched(fireflies: "period: 1s, enrichment: lean")
    let flow = try Conversation.tcp(lab.pair)
    let datagrams = try Conversation.udp(lab.pair)
    let back = try Conversation.tcp(lab.pair)
    try lab.marker.tell(
      lab.line("start", flow.key) + lab.line("start", datagrams.key)
        + lab.line("start", back.key, inbound: true))
    _ = try lab.heard(quiet: 100)
    try flow.transfer(1_000_000)
    try back.transfer(500_000)
    usleep(200_000)
    try datagrams.near.send([1, 2, 3])
    usleep(3_300_000)
    let heard = try lab.heard(quiet: 10).filter { $0.state == "ongoing" }
    for key in [flow.key, datagrams.key, back.key] {
      let port = Int(key.local.port)
      let of = heard.filter { $0.sourcePort == port || $0.destinationPort == port }
      #expect((2...5).contains(of.count), "\(of.count)")
      let last = try #require(of.last)
      if key.transport == .udp {
        #expect(last.sent == 51 && last.received == nil && last.netlink.isEmpty)
      } else {
        let isOut = key == flow.key
        #expect((isOut ? last.sent : last.received) ?? 0 >= (isOut ? 1_000_000 : 500_000))
        #expect((isOut ? last.received : last.sent) == 0)
        let info = last.netlink["tcpInfo"] as? [String: Any]
        #expect((info?["rtt"] as? Int ?? 0) > 0 && last.size <= 1232)
      }
    }
    try lab.marker.configure(
      "interfaces: [near0]\npipes: [PIPE]\nfireflies: {collectors: [\"[\(far)]:10514\"], remoteEnds: false, period: none}\n"
    )
    #expect(lab.marker.waitForLog("configuration read again"))
    _ = try lab.heard(quiet: 100)
    #expect(try lab.heard(quiet: 1500).isEmpty, "turned off")
  }

  @Test(arguments: ["none", "lean", "compatible", "full"]) func modes(mode: String) throws {
    let lab = try Watched(fireflies: "period: none, enrichment: \(mode)")
    let flow = try Conversation.tcp(lab.pair)
    try lab.marker.tell(lab.line("start", flow.key))
    try flow.transfer(5_000_000)
    try lab.marker.tell(lab.line("end", flow.key))
    let end = try #require(try lab.heard().last)
    #expect(end.size <= 1232, "\(end.size)")
    switch mode {
    case "none": #expect(end.json["netlink"] == nil)
    case "compatible":
      #expect(end.netlink["state"] as? String == "established" && end.netlink["snd_mss"] != nil)
      #expect((end.netlink["rtt"] as? Double ?? 1e9) < 1000)
    default:
      let info = end.netlink["tcpInfo"] as? [String: Any]
      #expect((info?["bytesSent"] as? Int ?? 0) >= 5_000_000 && end.netlink["cong"] != nil)
    }
  }

  @Test func thousandsOfSocketsEachStartAndEndOnce() throws {
    let lab = try Watched(fireflies: "period: 1s")
    let listener = try LabSocket(
      .tcp, in: lab.pair.far, bound: Endpoint(try Conversation.address(far), 0))
    try listener.listen()
    var ports: [Int] = []
    for round in 0..<8 {
      var open: [LabSocket] = []
      var lines = ""
      for _ in 0..<400 {
        // A port of its own each: the same one twice would be one flow that goes on.
        let port = UInt16(20_000 + ports.count)
        let near = try LabSocket(
          .tcp, in: lab.pair.near, bound: Endpoint(try Conversation.address(near), port))
        try near.connect(to: listener.local)
        let accepted = try listener.accept()
        try near.send([UInt8](repeating: 1, count: 100))
        open.append(near)
        open.append(accepted)
        ports.append(Int(near.local.port))
        lines += lab.line("start", FlowKey(local: near.local, remote: listener.local, transport: .tcp))
      }
      try lab.marker.tell(lines)
      // Half of the rounds close before the daemon can have seen all of their lines.
      if round % 2 == 0 { usleep(200_000) }
    }
    let heard = try lab.heard(quiet: 1200)
    for state in ["start", "end"] {
      let of = heard.filter { $0.state == state }.map(\.sourcePort)
      #expect(of.count == ports.count && of.sorted() == ports.sorted(), "\(of.count) times \(state)")
    }
    let counts = heard.filter { $0.state == "end" }.map { $0.sent ?? -1 }
    #expect(counts.allSatisfy { (99...101).contains($0) }, "\(counts.filter { $0 != 100 }.prefix(9))")
  }
}
