import Flow
import Glibc
import Lab
import Linux
import Logging
import Testing

@testable import Marker

/// What daemons find that earlier ones of other settings or versions have left, and what becomes of it.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InheritanceLabTests {
  private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// Another path, or another hook, takes over and leaves nothing of the old one: a flow that ends is unmarked.
  @Test(arguments: [
    ("--path tc --tc-hook clsact", "--path nft"), ("--path tc --tc-hook tcx", "--path tc --tc-hook clsact"),
    ("--path tc --tc-hook clsact", "--path tc --tc-hook tcx"),
    ("--path tc --tc-hook clsact --clean", "--path tc --tc-hook tcx"),
    ("--path nft --clean", "--path tc --tc-hook tcx"),
  ])
  func anotherWayOfMarkingTakesOverWholly(old: String, new: String) throws {
    let lab = try KeptLab()
    let first = try lab.start(old)
    try first.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    _ = first.stop(SIGKILL)
    let second = try lab.start(new)
    if old.contains("--clean") {
      #expect(!second.log.contains("going on"))
    } else {
      #expect(try lab.isMarked())
    }
    try second.tell(lab.line("start") + lab.line("end"))
    try lab.wait(isMarked: false)
    #expect(second.stop() == 0)
    _ = try lab.clean()
    #expect(try lab.clean() == "nothing of marker's is here\n")
    #expect(try !lab.isMarked())
  }

  /// Where BPF is refused, what a first start made before it failed goes again.
  @Test func aFirstStartThatFailsLateLeavesNothing() throws {
    let lab = try KeptLab()
    #expect(throws: SystemError.self) {
      try refusingBPF(with: EPERM) { () throws(SystemError) in try lab.start("--path tc") }
    }
    #expect(try lab.pair.near.shell("nft list tables") == "")
    #expect(try lab.folder() == nil)
  }

  /// Without BPF's file system marks by tcx cannot stay, and that is said; a filter at clsact stays by itself.
  @Test(arguments: ["tcx", "clsact"]) func withoutAPlaceForPins(hook: String) throws {
    let lab = try KeptLab()
    let readOnly =
      "unshare --mount --propagation private sh -c 'mount --bind /sys/fs/bpf /sys/fs/bpf && "
      + "mount -o remount,bind,ro /sys/fs/bpf && exec MARKER'"
    let marker = try lab.start("--path tc --tc-hook \(hook)", by: readOnly)
    #expect(marker.log.contains("marks end with the daemon") == (hook == "tcx"), "\(marker.log)")
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    #expect(marker.stop() == 0)
    #expect(try lab.isMarked() == (hook == "clsact"))
    let next = try lab.start("--path tc --tc-hook \(hook)", by: readOnly)
    #expect(next.log.contains("flows=1"), "\(next.log)")
    #expect(try lab.isMarked())
    #expect(next.stop() == 0)
    _ = try lab.clean()
    #expect(try !lab.isMarked())
  }

  /// Interfaces that went do not mean that their namespace did.
  @Test func anotherNamespacesDaemonLeavesAloneWhatIsYoung() throws {
    let lab = try KeptLab()
    let first = try lab.start("--path tc")
    try first.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    _ = first.stop(SIGKILL)
    try lab.pair.near.shell(
      "ip link del near0; ip link add near0 type veth peer name other0; ip link set near0 up")
    let elsewhere = try KeptLab()
    #expect(try elsewhere.start("--path tc").stop() == 0)
    _ = try elsewhere.clean()
    let second = try lab.start("--path tc")
    #expect(second.log.contains("flows=1"), "\(second.log)")
    #expect(second.stop() == 0)
    _ = try lab.clean()
  }

  @Test func restartKeepIsTakenBackWhileRunning() throws {
    let lab = try KeptLab()
    func file(_ keep: Bool) -> String {
      "interfaces: [near0]\npath: tc\npipes: [PIPE]\nrestart: {keep: \(keep)}\n"
    }
    let marker = try MarkerProcess("--config CONFIG KEEP", configuration: file(true), in: lab.pair.near)
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    try marker.configure(file(false))
    #expect(marker.waitForLog("configuration read again"))
    #expect(marker.stop() == 0)
    #expect(try !lab.isMarked())
    #expect(try lab.clean() == "nothing of marker's is here\n")
  }

  /// More flows than there was room for when the daemon started are known to the next one too.
  @Test func aTableThatGrowsWhileRunningIsKept() throws {
    let lab = try KeptLab()
    func file(_ most: Int) -> String {
      "interfaces: [near0]\npath: tc\npipes: [PIPE]\nflows: {max: \(most)}\n"
    }
    let marker = try MarkerProcess("--config CONFIG KEEP", configuration: file(1), in: lab.pair.near)
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    try marker.configure(file(100))
    #expect(marker.waitForLog("configuration read again"))
    let others = (1...20).map { "start udp \(VethPair.near6) \($0) \(VethPair.far6) 9 2 17\n" }
    try marker.tell(others.joined())
    #expect(marker.stop() == 0)
    let next = try lab.start("--path tc")
    #expect(next.log.contains("flows=21"), "\(marker.log)\(next.log)")
    #expect(try lab.isMarked())
    #expect(next.stop() == 0)
    _ = try lab.clean()
  }

  /// A daemon in a time namespace sees another clock than the programs.
  @Test func marksStayAlsoWhereClocksAreShifted() throws {
    let lab = try KeptLab()
    let shifted = "unshare --time --monotonic -3000 --fork --kill-child=SIGTERM MARKER"
    let marker = try lab.start("--path tc", by: shifted)
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    let daemon = try lab.pair.near.shell("pgrep -P \(marker.number)").filter(\.isNumber)
    try lab.pair.near.shell("kill -TERM \(daemon); while kill -0 \(daemon) 2>/dev/null; do sleep 0.01; done")
    #expect(marker.log.contains("marks stay for the next daemon"), "\(marker.log)")
    #expect(try lab.isMarked())
    _ = try lab.clean()
  }

  /// What sockets had by themselves outlives the daemon that set them: the next one gives it back.
  @Test func socketsGetTheirOwnValuesBackFromTheNextDaemon() throws {
    let lab = try KeptLab()
    let flow = try Conversation.tcp(lab.pair)
    try flow.near.set(Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS), 10 << 2)
    let key = flow.key
    func line(_ state: String) -> String {
      "\(state) tcp \(key.local.address) \(key.local.port) \(key.remote.address) \(key.remote.port) 2 17\n"
    }
    /// The label and the DSCP of a message; asked again until they are as wanted, because a pipe has no answer.
    func stamps(_ wanted: (UInt32, UInt8) -> Bool) throws -> (label: UInt32, dscp: UInt8) {
      var last: (UInt32, UInt8) = (0, 0)
      for _ in 0..<200 {
        let capture = try Capture("far0", in: lab.pair.far)
        try flow.near.send([1])
        guard let frame = try capture.frames(quiet: 50).of(key).last else { continue }
        last = (frame.flowLabel, frame.dscp)
        if wanted(frame.flowLabel, frame.dscp) { break }
      }
      return last
    }
    let own = try stamps { _, dscp in dscp == 10 }
    let first = try lab.start("--path sock")
    try first.tell(line("start"))
    let marked = try stamps { label, _ in label & ~FlowLabel.entropyMask == 0x10044 }
    #expect(marked.label & ~FlowLabel.entropyMask == 0x10044)
    _ = first.stop(SIGKILL)
    let second = try lab.start("--path sock")
    #expect(second.log.contains("flows=1"), "\(second.log)")
    #expect(try stamps { label, _ in label == marked.label }.label == marked.label)
    try second.tell(line("end"))
    let after = try stamps { label, _ in label == own.label }
    #expect(after.label == own.label && after.dscp == own.dscp, "\(own) \(marked) \(after)")
    #expect(second.stop() == 0)
    _ = try lab.clean()
  }

  // MARK: - Versions

  /// A daemon of another version was here: its links are taken over, so that no packet has two marks. The flows of an
  /// unknown older one are lost, those of a newer one stay for it.
  @Test(arguments: [0, 2]) func whatAnotherVersionLeft(version: Int) throws {
    let lab = try KeptLab()
    let first = try lab.start("--path tc")
    try first.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    _ = first.stop(SIGKILL)
    let own = try #require(try lab.folder())
    let other = own.replacing("/v1/", with: "/v\(version)/")
    try shell("mkdir -p /sys/fs/bpf/marker/v\(version) && mv \(own) \(other)")
    defer { _ = try? shell("rm -f \(other)/*; rmdir \(other)") }
    let second = try lab.start("--path tc")
    #expect(
      second.log.contains(version == 0 ? "they are lost" : "they stay there"), "\(second.log)")
    // The mark went with what is known of it; there is one program, ours.
    #expect(try !lab.isMarked())
    #expect(try lab.chain().count == 1)
    try second.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    let left = try shell("ls \(other) 2>/dev/null; true").split(separator: "\n").map(String.init).sorted()
    #expect(left == (version == 0 ? [] : ["flows", "life", "names", "records"]))
    #expect(second.stop() == 0)
    _ = try lab.clean()
    #expect(try !lab.isMarked() && lab.chain().isEmpty)
    #expect(try shell("ls \(other) 2>/dev/null; true").isEmpty == (version == 0))
  }

  /// A newer version that knows how this one keeps flows goes on with them: the new is written beside the old, and the
  /// old is removed.
  @Test func aNewerVersionGoesOnWithWhatThisOneKept() throws {
    let lab = try KeptLab()
    let first = try lab.start("--path tc")
    try first.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    let capture = try Capture("far0", in: lab.pair.far)
    let blast = try Blast([lab.flow.near])
    _ = first.stop(SIGKILL)
    let own = try #require(try lab.folder())
    var settings = Settings(interfaces: InterfaceSelection(names: ["near0"]), path: .tc, pipes: [])
    settings.sockets.group = .none
    try lab.pair.near.run {
      let inheritance = try Inheritance(settings, ApplicationNames(own: "marker"), version: 2, log: log)
      let desk = try TableWriter.Desk(
        settings, network: NetworkKeeper(settings.interfaces, log: log), sockets: nil,
        inheritance: inheritance,
        log: log)
      #expect(desk.table.count == 1 && desk.leavesMarks)
    }
    blast.stop()
    let frames = try capture.frames().of(lab.flow.key)
    #expect(frames.count > 50 && frames.allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 })
    #expect(try lab.folder() == nil)
    let newer = own.replacing("/v1/", with: "/v2/")
    let left = try shell("ls \(newer)").split(separator: "\n").map(String.init)
    #expect(left.count == 5 && left.contains("records") && left.contains { $0.hasPrefix("link-") }, "\(left)")
    _ = try lab.clean()
    try shell("rm -f \(newer)/*; rmdir \(newer)")
  }
}
