import Flow
import Glibc
import Lab
import Linux
import Testing

/// The daemon between two ports, judged at the far end.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InlineLabTests {
  @Test(arguments: ["raw", "xdp"]) func flowsAreMarkedAndOthersAreNot(path: String) throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path \(path) --strategy auto")
    let (six, other) = (try Conversation.udp(lab), try Conversation.udp(lab))
    let four = try Conversation.udp(lab, ipv4: true)
    try marker.tell("start", six)
    try marker.tell("start", four)
    #expect(try lab.sees(six) { $0.isLabelled && $0.trafficClass == 0 && $0.checksumsAreRight == true })
    #expect(try lab.sees(four) { $0.dscp == 11 && $0.checksumsAreRight == true })
    #expect(try lab.sees(other) { !$0.isLabelled && $0.checksumsAreRight == true })
    // The other direction stays as it is.
    let capture = try Capture("app0", in: lab.near)
    try six.far.send([1], to: six.key.local)
    let back = try capture.frames().filter { $0.source == six.key.remote.address && $0.transport == 17 }
    #expect(back.count == 1 && !back[0].isLabelled)
    try marker.tell("end", six)
    try marker.tell("end", four)
    #expect(try lab.sees(six) { !$0.isLabelled })
    #expect(try lab.sees(four) { $0.trafficClass == 0 })
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try lab.sees(six) { !$0.isLabelled })
    #expect(try lab.checksumErrors() == 0)
    // Nothing stays.
    #expect(try lab.box.shell("ip -br link").contains("marker") == false)
  }

  @Test(arguments: ["raw", "xdp"], [false, true]) func transfers(path: String, ipv4: Bool) throws {
    let lab = try InlineLab()
    let marker = try lab.startMarker("--path \(path) --strategy auto")
    let flow = try Conversation.tcp(lab, ipv4: ipv4)
    let witness = try Conversation.udp(lab, ipv4: ipv4)
    try marker.tell("start", flow)
    try marker.tell("start", witness)
    // Told after it, so marked after it.
    #expect(try lab.sees(witness) { ipv4 ? $0.dscp == 11 : $0.isLabelled })
    let capture = try Capture("rem0", in: lab.far)
    try flow.pour(20_000_000)
    let frames = try capture.frames().of(flow.key)
    #expect(try capture.dropped() == 0)
    #expect(frames.count > 13_000)
    #expect(frames.allSatisfy { ipv4 ? $0.dscp == 11 : $0.isLabelled })
    #expect(frames.allSatisfy { $0.checksumsAreRight == true })
    #expect(try lab.checksumErrors() == 0)
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(marker.log.contains("overflowed=0") && marker.log.contains("unsent=0"), "\(marker.log)")
  }
}
