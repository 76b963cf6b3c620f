import Flow
import Glibc
import Lab
import Linux
import Testing

/// A daemon whose version of what is kept is not that of the one before, and a system call of its take-over that fails.
/// `scripts/faults --phase version` fails each one. Only debug builds have a second version.
@Suite(.enabled(if: geteuid() == 0 && hasVersions, "needs root and a debug build")) struct VersionLabTests {
  private let path = "--path tc --tc-hook tcx --api API"
  private let lab: KeptLab
  private let older: String
  private let newer: String

  init() throws {
    lab = try KeptLab()
    let own = try lab.pair.near.run { () throws(SystemError) in try NetworkNamespaceID.own() }
    (older, newer) = ("/sys/fs/bpf/marker/v1/net-\(own)", "/sys/fs/bpf/marker/v2/net-\(own)")
  }

  /// Takes away what either version has left.
  private func clean() throws {
    try lab.pair.near.shell("MARKER_STATE_VERSION=2 \(MarkerProcess.binary) clean")
  }

  /// Starts a daemon of the newer version.
  private func startNewer(_ strace: String = "") throws(SystemError) -> MarkerProcess {
    try lab.start(path, by: "\(strace) MARKER", version: 2)
  }

  /// A daemon of the older version marks the flow and is killed.
  ///
  /// - Returns: what it said of the flow.
  private func leaveOlder() throws -> String {
    let marker = try lab.start(path)
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    let told = try flows(marker)
    _ = marker.stop(SIGKILL)
    return told
  }

  /// Tag and start of each flow, as the API tells them.
  private func flows(_ marker: MarkerProcess) throws -> String {
    try shell(
      "curl -s -m 10 --unix-socket \(marker.api) http://localhost/v1/flows"
        + " | grep -oE '\"(experiment|activity|start)\":[^,]*' | sort | tr '\\n' ' '")
  }

  /// A system call of the take-over.
  private struct Step: CustomTestStringConvertible {
    let call: String
    /// How manieth of its thread it is.
    let number: Int
    let line: String

    var testDescription: String { "\(call) \(number): \(line.prefix(120))" }

    /// What kind of step it is: the call, the command of bpf(2), and whose folder it is about.
    var kind: String {
      let command = line.split(separator: "BPF_", maxSplits: 1).dropFirst().first?.prefix { $0 != "," } ?? ""
      let folder = line.contains("/v1/") ? "v1" : line.contains("/v2/") ? "v2" : ""
      return "\(call) \(command) \(folder)"
    }
  }

  /// The last step of each kind, from a trace of a take-over that went well. What only reads is left to the script.
  private func steps() throws -> [Step] {
    _ = try leaveOlder()
    let trace = try shell("mktemp /tmp/marker-lab-XXXXXX").filter { $0 != "\n" }
    defer { _ = try? shell("rm -f \(trace)") }
    let marker = try startNewer(
      "strace -D -f -qq -s 80 -o \(trace) -e trace=bpf,mkdir,unlink,rename,rmdir")
    let text = try shell("cat \(trace)")
    _ = marker.stop()
    try clean()
    var counts: [String: Int] = [:]
    var steps: [Step] = []
    var hasBegun = false
    for line in text.split(separator: "\n").map(String.init) {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard words.count > 1, let call = words[1].split(separator: "(").first else { continue }
      let number = counts["\(words[0]) \(call)", default: 0] + 1
      counts["\(words[0]) \(call)"] = number
      hasBegun = hasBegun || line.contains(newer)
      // The library's trials of what the kernel knows are not steps.
      guard hasBegun, !line.contains("BPF_BTF_LOAD"), !line.contains("SOCKET_FILTER"),
        !["LOOKUP", "NEXT_KEY", "INFO_BY_FD", "ENOENT"].contains(where: { line.contains($0) })
      else { continue }
      let step = Step(call: String(call), number: number, line: line)
      steps.removeAll { $0.kind == step.kind }
      steps.append(step)
    }
    return steps
  }

  /// Whatever fails, the flow's packets are marked all the time, and the next start goes on with the flow as it was told
  /// of and removes the older version.
  @Test func aStepThatFailsLeavesTheOldMarks() throws {
    let errors = ["bpf": "ENOMEM", "mkdir": "ENOSPC", "unlink": "EIO", "rename": "ENOSPC", "rmdir": "EIO"]
    let steps = try steps()
    for kind in ["bpf LINK_UPDATE ", "bpf OBJ_PIN v2", "mkdir  v2", "rename  v2", "unlink  v1"] {
      #expect(steps.contains { $0.kind == kind }, "\(kind) of \(steps.map(\.kind))")
    }
    for step in steps {
      let told = try leaveOlder()
      #expect(told.contains("\"start\":"))
      let capture = try Capture("far0", in: lab.pair.far)
      let blast = try Blast([lab.flow.near])
      let fault = "error=\(errors[step.call] ?? "EIO"):when=\(step.number)"
      let failed = try? startNewer(
        "strace -D -f -qq -o /dev/null -e trace=\(step.call) -e inject=\(step.call):\(fault)")
      _ = failed?.stop(SIGKILL)
      let next = try startNewer()
      #expect(try flows(next) == told, "\(step.testDescription)")
      blast.stop()
      let labels = try capture.frames().of(lab.flow.key).map { $0.flowLabel & ~FlowLabel.entropyMask }
      let unmarked = labels.filter { $0 != 0x10044 }.count
      #expect(labels.count > 50 && unmarked == 0, "\(unmarked) of \(labels.count): \(step.testDescription)")
      #expect(access(older, F_OK) != 0 && access(newer, F_OK) == 0, "\(step.testDescription)")
      #expect(next.stop() == 0)
      try clean()
    }
  }

  /// No descriptor is left, for once or for good, just as folders are listed: they are not taken for empty.
  @Test(arguments: ["/sys/fs/bpf/marker", "OLDER", "NEWER"], ["1", "1+"])
  func aFolderThatCannotBeListed(folder: String, when: String) throws {
    let told = try leaveOlder()
    let place = ["OLDER": older, "NEWER": newer][folder] ?? folder
    let failed = try? startNewer(
      "strace -D -f -qq -o /dev/null -P \(place) -e trace=openat -e inject=openat:error=EMFILE:when=\(when)")
    _ = failed?.stop(SIGKILL)
    #expect(try lab.isMarked())
    let next = try startNewer()
    #expect(try flows(next) == told)
    #expect(access(older, F_OK) != 0)
    #expect(next.stop() == 0)
    try clean()
  }

  /// Nothing can be pinned at the new place, for good: the link stays pinned at the old one.
  @Test func marksThatCannotMoveStayWhereTheyAre() throws {
    let told = try leaveOlder()
    try shell("mkdir -p \(newer)/link-\(try index())-new")
    let marker = try startNewer()
    #expect(marker.log.contains("marks end with the daemon"), "\(marker.log)")
    #expect(try shell("ls \(older)") == "link-\(try index())\n")
    _ = marker.stop(SIGKILL)
    #expect(try lab.isMarked())
    try shell("rmdir \(newer)/link-\(try index())-new")
    let next = try startNewer()
    #expect(try flows(next) == told)
    #expect(access(older, F_OK) != 0)
    #expect(next.stop() == 0)
    #expect(try lab.isMarked())
    try clean()
  }

  /// Once there is room again what could not be pinned is.
  @Test func marksThatCouldNotBeKeptAreKeptLater() throws {
    _ = try leaveOlder()
    try shell("mkdir -p \(newer)/link-\(try index())-new")
    let marker = try startNewer()
    try shell("rmdir \(newer)/link-\(try index())-new")
    #expect(marker.waitForLog("marks outlast the daemon again", seconds: 10), "\(marker.log)")
    #expect(access("\(newer)/link-\(try index())", F_OK) == 0)
    #expect(access("\(older)/link-\(try index())", F_OK) != 0)
    #expect(marker.stop() == 0)
    #expect(marker.log.contains("marks stay for the next daemon"))
    try clean()
  }

  private func index() throws -> UInt32 {
    try lab.pair.near.run { () throws(SystemError) in if_nametoindex("near0") }
  }

  /// That the qdisc is ours, and what sockets had by themselves, is known to the newer version too.
  @Test func theQdiscIsStillOurs() throws {
    let marker = try lab.start("--path tc --tc-hook clsact")
    _ = marker.stop(SIGKILL)
    let next = try lab.start("--path tc --tc-hook clsact", version: 2)
    #expect(access("\(newer)/qdisc-\(try index())", F_OK) == 0)
    #expect(next.stop() == 0)
    try clean()
    #expect(try lab.pair.near.shell("tc qdisc show dev near0 clsact") == "")
  }

  @Test func socketsGetTheirOwnValuesBack() throws {
    let flow = try Conversation.tcp(lab.pair)
    try flow.near.set(Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS), 10 << 2)
    func line(_ state: String) -> String {
      let (local, remote) = (flow.key.local, flow.key.remote)
      return "\(state) tcp \(local.address) \(local.port) \(remote.address) \(remote.port) 2 17\n"
    }
    /// Sends until a message is as wanted, because a pipe has no answer.
    func becomes(_ wanted: (Frame) -> Bool) throws -> Bool {
      for _ in 0..<200 {
        let capture = try Capture("far0", in: lab.pair.far)
        try flow.near.send([1])
        if let frame = try capture.frames(quiet: 50).of(flow.key).last, wanted(frame) { return true }
      }
      return false
    }
    let first = try lab.start("--path sock --strategy auto")
    try first.tell(line("start"))
    #expect(try becomes { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 })
    _ = first.stop(SIGKILL)
    let second = try lab.start("--path sock --strategy auto", version: 2)
    #expect(second.log.contains("flows=1"), "\(second.log)")
    try second.tell(line("end"))
    #expect(try becomes { $0.flowLabel & ~FlowLabel.entropyMask != 0x10044 && $0.dscp == 10 })
    #expect(second.stop() == 0)
    try clean()
  }
}

private var hasVersions: Bool {
  #if DEBUG
    true
  #else
    false
  #endif
}
