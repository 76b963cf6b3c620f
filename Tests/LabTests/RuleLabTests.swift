import Flow
import Glibc
import Lab
import Linux
import Testing

private let far = "2001:db8::2"

/// A daemon with rules on the near end of a pair, told of connections in a control group of its own, and a collector on
/// the far end.
struct RuledLab {
  let pair: VethPair
  let group: LabGroup
  let marker: MarkerProcess
  let ear: LabSocket
  let wire: Capture

  /// - Parameters:
  ///   - group: `GROUP` in all texts stands for the test's own.
  ///   - before: is there before the daemon.
  init(
    _ rules: String, sockets: String = "cgroup: GROUP, period: 1s", more: String = "", path: String = "auto",
    before: (VethPair, LabGroup) throws -> Void = { _, _ in }
  ) throws {
    pair = try VethPair()
    group = try LabGroup()
    ear = try LabSocket(.udp, in: pair.far, bound: Endpoint(try Conversation.address(far), 10514))
    try ear.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 256 << 20)
    try before(pair, group)
    marker = try MarkerProcess(
      "run --config CONFIG", configuration: Self.configuration(rules, sockets, more, path, group),
      in: pair.near)
    wire = try Capture("far0", in: pair.far)
  }

  private static func configuration(
    _ rules: String, _ sockets: String, _ more: String, _ path: String, _ group: LabGroup
  ) -> String {
    """
    interfaces: [near0]
    path: \(path)
    pipes: [PIPE]
    fireflies: {collectors: ["[\(far)]:10514"], remoteEnds: false, period: none}
    rules: \(rules)
    sockets: {\(sockets)}
    \(more)
    """.replacing("GROUPPATH", with: group.path).replacing("GROUP", with: group.folder)
  }

  func configure(_ rules: String, sockets: String = "cgroup: GROUP, period: 1s", more: String = "") throws {
    try marker.configure(Self.configuration(rules, sockets, more, "auto", group))
  }

  /// What was heard until so many fireflies came, and no more for a while.
  func heard(_ count: Int, within seconds: Int = 20) throws -> [Heard] {
    var heard: [Heard] = []
    let start = MonotonicTime.now()
    while MonotonicTime.now().microseconds(since: start) < Int64(seconds) * 1_000_000 {
      guard let datagram = try ear.receive(within: heard.count < count ? 1000 : 300) else {
        if heard.count >= count { break }
        continue
      }
      heard.append(try Heard(datagram))
    }
    return heard
  }

  /// A connection whose socket was made in the group.
  func connect(ipv4: Bool = false, to port: UInt16 = 0, from local: UInt16 = 0) throws -> Conversation {
    let listener = try LabSocket(
      .tcp, in: pair.far, bound: Endpoint(try Conversation.address(ipv4 ? VethPair.far4 : far), port))
    try listener.listen()
    return try group.run {
      let near = try LabSocket(
        .tcp, in: pair.near,
        bound: Endpoint(try Conversation.address(ipv4 ? VethPair.near4 : "2001:db8::1"), local))
      try near.connect(to: listener.local)
      return Conversation(
        near: near, far: try listener.accept(),
        key: FlowKey(local: near.local, remote: listener.local, transport: .tcp))
    }
  }

  /// The tags of a flow's packets, in their order; nil for one without.
  func tags(_ key: FlowKey, _ frames: [Frame]) -> [SciTag?] {
    frames.of(key).map { frame in
      frame.flowLabel == 0 ? nil : FlowLabel(Int(frame.flowLabel))?.sciTag
    }
  }
}

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct RuleLabTests {
  @Test func aConnectionIsMarkedFromItsSYNOn() throws {
    let lab = try RuledLab("[{experiment: 2, activity: 17, remotePorts: 5200-5210}]")
    #expect(lab.marker.log.contains("from the first packet"), "\(lab.marker.log)")
    let flow = try lab.connect(to: 5201)
    let other = try lab.connect(to: 5300)
    try flow.near.send([1, 2, 3])
    try other.near.send([1, 2, 3])
    let frames = try lab.wire.frames()
    let tags = lab.tags(flow.key, frames)
    let tag = try SciTag(experiment: 2, activity: 17)
    #expect(tags.count >= 3 && tags.allSatisfy { $0 == tag }, "\(tags)")
    #expect(!lab.tags(other.key, frames).contains(tag))
    let start = try lab.heard(1)
    #expect(start.map(\.state) == ["start"] && start[0].destinationPort == 5201)
    #expect(start[0].experiment == 2 && start[0].activity == 17)
  }
}
