import Flow
import Glibc
import Lab
import Linux
import Testing

/// Mark-all and what it leaves alone, by each path, judged on the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct MarkAllLabTests {
  private func configuration(_ path: String, _ rest: String) -> String {
    """
    interfaces: [near0]
    pipes: [PIPE]
    api: {listen: []}
    strategy: auto
    path: \(path)
    fireflies: {remoteEnds: false}
    sockets: {cgroup: none, period: 1s}
    markAll: atlas/perfsonar
    \(rest)
    """
  }

  /// Whether a datagram of the flow leaves with mark-all's mark; nil for another mark.
  private func isMarked(_ pair: VethPair, _ flow: Conversation) throws -> Bool? {
    let capture = try Capture("far0", in: pair.far)
    try flow.near.send([1])
    // The machine may be busy.
    var frames: [Frame] = []
    for _ in 0..<20 where frames.isEmpty { frames = try capture.frames(quiet: 50).of(flow.key) }
    let frame = try #require(frames.first)
    if !frame.isIPv6 { return frame.dscp == 11 ? true : frame.dscp == 0 ? false : nil }
    let label = frame.flowLabel & ~FlowLabel.entropyMask
    return label == 0x10008 ? true : label == 0x30038 ? nil : false
  }

  private func becomes(_ pair: VethPair, _ flow: Conversation, marked: Bool?) throws -> Bool {
    for _ in 0..<60 where try isMarked(pair, flow) == marked { return true }
    return false
  }

  @Test(arguments: ["tc", "nft"]) func exclusions(path: String) throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: configuration(
        path, "markAllExcept: {networks: [\"2001:db8:5::/48\"], ports: [22, 9000-9010]}"),
      in: pair.near)
    let (ipv6, ipv4) = (try Conversation.udp(pair), try Conversation.udp(pair, ipv4: true))
    #expect(try becomes(pair, ipv6, marked: true), "\(marker.log)")
    #expect(try isMarked(pair, ipv4) == true)
    // Every packet of a connection to an excluded port, from its SYN on; and both ways of naming it.
    for port in [22, 9010] as [UInt16] {
      let capture = try Capture("far0", in: pair.far)
      let local = try Conversation.tcp(pair, port: port)
      try local.transfer(100_000)
      let frames = try capture.frames().of(local.key)
      #expect(!frames.isEmpty && frames.allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask != 0x10008 })
    }
    let listener = try LabSocket(
      .tcp, in: pair.far, bound: Endpoint(try Conversation.address(VethPair.far4), 9000))
    try listener.listen()
    let capture = try Capture("far0", in: pair.far)
    let remote = try LabSocket(
      .tcp, in: pair.near, bound: Endpoint(try Conversation.address(VethPair.near4), 0))
    try remote.connect(to: listener.local)
    let syn = try capture.frames().filter { $0.transport == 6 && $0.destinationPort == 9000 }
    #expect(!syn.isEmpty && syn.allSatisfy { $0.dscp == 0 })

    // A network, at a reload; then a source speaks of a flow that goes there.
    try marker.configure(
      configuration(path, "markAllExcept: {networks: [\"2001:db8::/64\", 192.0.2.0/24]}"))
    #expect(try becomes(pair, ipv6, marked: false), "\(marker.log)")
    #expect(try isMarked(pair, ipv4) == false)
    let key = ipv6.key
    let flow = "udp \(key.local.address) \(key.local.port) \(key.remote.address) \(key.remote.port) 3 14\n"
    try marker.tell("start \(flow)")
    #expect(try becomes(pair, ipv6, marked: nil), "a tagged flow is marked all the same")
    try marker.tell("end \(flow)")
    #expect(try becomes(pair, ipv6, marked: false))
    try marker.configure(configuration(path, ""))
    #expect(try becomes(pair, ipv6, marked: true))
    #expect(try isMarked(pair, ipv4) == true)
    #expect(marker.stop() == 0)
  }
}
