import Flow
import Glibc
import Lab
import Linux
import Testing

/// The daemon where something that it would like is refused, judged by packets on the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ConfinedDaemonLabTests {
  @Test(arguments: [EPERM, ENOSYS]) func marksByNFTWhereBPFIsRefused(code: Int32) throws {
    let pair = try VethPair()
    let marker = try refusingBPF(with: code) { () throws(SystemError) in
      try MarkerProcess(
        "--interface near0 --strategy auto --pipe PIPE --no-remote-fireflies", in: pair.near)
    }
    #expect(marker.log.contains("a path does not work; taking the next"), "\(marker.log)")
    let ipv6 = try Conversation.udp(pair)
    let ipv4 = try Conversation.udp(pair, ipv4: true)
    for flow in [ipv6, ipv4] {
      let (local, remote) = (flow.key.local, flow.key.remote)
      try marker.tell("start udp \(local.address) \(local.port) \(remote.address) \(remote.port) 2 17\n")
    }
    #expect(try sees(pair, ipv6) { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 })
    // Preset pool2: 2 << 2 | 3.
    #expect(try sees(pair, ipv4) { $0.dscp == 11 && $0.checksumsAreRight == true })
    #expect(marker.stop() == 0)
  }

  @Test func aNamedPathThatIsRefusedEndsTheStart() throws {
    let pair = try VethPair()
    #expect {
      try refusingBPF(with: EPERM) { () throws(SystemError) in
        try MarkerProcess(
          "--interface near0 --path tc --pipe PIPE --no-remote-fireflies", in: pair.near)
      }
    } throws: { "\($0)".contains("Operation not permitted") }
  }

  @Test func marksByTCWithoutABPFFileSystem() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(
      "--interface near0 --pipe PIPE --no-remote-fireflies", in: pair.near,
      by: "unshare --mount --propagation private sh -c 'umount /sys/fs/bpf 2>/dev/null; exec MARKER'")
    let flow = try Conversation.udp(pair)
    let (local, remote) = (flow.key.local, flow.key.remote)
    try marker.tell("start udp \(local.address) \(local.port) \(remote.address) \(remote.port) 2 17\n")
    #expect(try sees(pair, flow) { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 })
    #expect(try pair.near.shell("nft list tables") == "", "it is not nft that marks")
  }

  /// What the far side sees of a datagram; asked again until it is as wanted, because a pipe has no answer.
  private func sees(_ pair: VethPair, _ flow: Conversation, _ wanted: (Frame) -> Bool) throws -> Bool {
    for _ in 0..<40 {
      let capture = try Capture("far0", in: pair.far)
      try flow.near.send([1, 2, 3])
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if frames.count == 1, wanted(frames[0]) { return true }
    }
    return false
  }
}
