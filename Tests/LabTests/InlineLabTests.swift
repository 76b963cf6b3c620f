import Flow
import Glibc
import Lab
import Linux
import Testing

/// The daemon between two ports, judged at the far end.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InlineLabTests {
  static func start(_ options: String, _ lab: InlineLab) throws -> MarkerProcess {
    try MarkerProcess(
      "--inside in0 --outside out0 --pipe PIPE --no-remote-fireflies \(options)", in: lab.box)
  }

  private func tell(_ marker: MarkerProcess, _ state: String, _ flow: Conversation, _ tag: String = "2 17") throws {
    let (local, remote) = (flow.key.local, flow.key.remote)
    try marker.tell(
      "\(state) \(flow.key.transport.name) \(local.address) \(local.port) \(remote.address) \(remote.port) \(tag)\n")
  }

  /// What the far end sees of a datagram; sent again until it is as wanted, because a pipe has no answer.
  private func sees(_ lab: InlineLab, _ flow: Conversation, _ wanted: (Frame) -> Bool) throws -> Bool {
    for _ in 0..<40 {
      let capture = try Capture("rem0", in: lab.far)
      try flow.near.send([1, 2, 3])
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if frames.count == 1, wanted(frames[0]) { return true }
    }
    return false
  }

  private func isLabelled(_ frame: Frame) -> Bool { frame.flowLabel & ~FlowLabel.entropyMask == 0x10044 }

  @Test(arguments: ["raw", "xdp"]) func flowsAreMarkedAndOthersAreNot(path: String) throws {
    let lab = try InlineLab()
    let marker = try Self.start("--path \(path) --strategy auto", lab)
    let (six, other) = (try Conversation.udp(lab), try Conversation.udp(lab))
    let four = try Conversation.udp(lab, ipv4: true)
    try tell(marker, "start", six)
    try tell(marker, "start", four)
    #expect(try sees(lab, six) { isLabelled($0) && $0.trafficClass == 0 && $0.checksumsAreRight == true })
    #expect(try sees(lab, four) { $0.dscp == 11 && $0.checksumsAreRight == true })
    #expect(try sees(lab, other) { !isLabelled($0) && $0.checksumsAreRight == true })
    // The other direction stays as it is.
    let capture = try Capture("app0", in: lab.near)
    try six.far.send([1], to: six.key.local)
    let back = try capture.frames().filter { $0.source == six.key.remote.address && $0.transport == 17 }
    #expect(back.count == 1 && !isLabelled(back[0]))
    try tell(marker, "end", six)
    try tell(marker, "end", four)
    #expect(try sees(lab, six) { !isLabelled($0) })
    #expect(try sees(lab, four) { $0.trafficClass == 0 })
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try sees(lab, six) { !isLabelled($0) })
    #expect(try lab.checksumErrors() == 0)
    // Nothing stays.
    #expect(try lab.box.shell("ip -br link").contains("marker") == false)
  }

  @Test(arguments: ["raw", "xdp"], [false, true]) func transfers(path: String, ipv4: Bool) throws {
    let lab = try InlineLab()
    let marker = try Self.start("--path \(path) --strategy auto", lab)
    let flow = try Conversation.tcp(lab, ipv4: ipv4)
    let witness = try Conversation.udp(lab, ipv4: ipv4)
    try tell(marker, "start", flow)
    try tell(marker, "start", witness)
    // Told after it, so marked after it.
    #expect(try sees(lab, witness) { ipv4 ? $0.dscp == 11 : isLabelled($0) })
    let capture = try Capture("rem0", in: lab.far)
    try flow.pour(20_000_000)
    let frames = try capture.frames().of(flow.key)
    #expect(try capture.dropped() == 0)
    #expect(frames.count > 13_000)
    #expect(frames.allSatisfy { ipv4 ? $0.dscp == 11 : isLabelled($0) })
    #expect(frames.allSatisfy { $0.checksumsAreRight == true })
    #expect(try lab.checksumErrors() == 0)
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(marker.log.contains("overflowed=0") && marker.log.contains("unsent=0"), "\(marker.log)")
  }
}
