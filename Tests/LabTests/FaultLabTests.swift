import Flow
import Glibc
import Lab
import Linux
import Testing

/// System calls that fail once, or are the daemon's last, by strace. `make faults` tries each one; these are those that
/// once cost something.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct FaultLabTests {
  /// Starts the daemon with a fault.
  ///
  /// - Parameters:
  ///   - fault: `error=CODE` or `signal=NUMBER`.
  ///   - number: the how manieth call of a thread it is.
  private func start(
    _ lab: KeptLab, _ options: String, _ call: String, _ fault: String, _ number: Int
  ) throws(SystemError) -> MarkerProcess {
    try lab.start(
      options,
      by: "strace -D -f -qq -o /dev/null -e trace=\(call) -e inject=\(call):\(fault):when=\(number) MARKER")
  }

  /// A start that fails, at whatever call, leaves nothing where nothing was.
  @Test(arguments: [
    ("--path tc --tc-hook tcx", "bpf", "ENOMEM", [1, 9, 17, 25, 33]),
    ("--path nft", "eventfd2", "EMFILE", [5, 12, 16]),
    ("--path nft", "sendto", "ENOBUFS", [3, 9]),
  ])
  func aFirstStartLeavesNothing(path: String, call: String, code: String, numbers: [Int]) throws {
    let lab = try KeptLab()
    for number in numbers {
      do {
        let marker = try start(lab, "\(path) --clean", call, "error=\(code)", number)
        #expect(marker.stop() == 0, "\(call) \(number): \(marker.log)")
      } catch {
        #expect(!error.description.contains("Fatal error"), "\(error)")
      }
      #expect(try lab.clean() == "nothing of marker's is here\n", "\(call) \(number)")
    }
  }

  /// A start that fails leaves the marks of the daemon before.
  @Test(arguments: [
    ("--path tc --tc-hook tcx", "bpf", "ENOMEM", [5, 7, 13, 20, 40]),
    ("--path nft", "sendto", "ENOBUFS", [2, 5, 8]),
  ])
  func marksStandWhateverFails(path: String, call: String, code: String, numbers: [Int]) throws {
    let lab = try KeptLab()
    let first = try lab.start(path)
    try first.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    _ = first.stop(SIGKILL)
    for number in numbers {
      if let marker = try? start(lab, path, call, "error=\(code)", number) { _ = marker.stop(SIGKILL) }
      #expect(try lab.isMarked(), "\(call) \(number)")
    }
    let last = try lab.start(path)
    #expect(last.log.contains("flows=1"), "\(last.log)")
    #expect(last.stop() == 0)
    _ = try lab.clean()
  }

  /// A daemon that is killed within a reload, whose paths are replaced, leaves the old marks or the new ones.
  @Test(arguments: [1, 3, 4, 6]) func aKillWithinAReload(number: Int) throws {
    let lab = try KeptLab()
    func file(_ most: Int) -> String {
      "interfaces: [near0]\npath: tc\npipes: [PIPE]\nflows: {max: \(most)}\n"
    }
    let marker = try MarkerProcess("--config CONFIG KEEP", configuration: file(1000), in: lab.pair.near)
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    let tracer = try lab.pair.near.run { () throws(SystemError) in
      try startShell(
        "exec strace -f -p \(marker.number) -e trace=unlink -e inject=unlink:signal=9:when=\(number) 2>\(marker.folder)/strace"
      )
    }
    for _ in 0..<500 {
      if try shell("cat \(marker.folder)/strace 2>/dev/null; true").contains("attached") { break }
      usleep(10_000)
    }
    try marker.configure(file(2000))
    _ = marker.waitForLog("configuration read again", seconds: 2)
    _ = marker.stop(SIGKILL)
    waitpid(tracer, nil, 0)
    #expect(try lab.isMarked())
    let next = try lab.start("--path tc")
    #expect(next.log.contains("flows=1"))
    #expect(try lab.chain().count == 1)
    #expect(next.stop() == 0)
    _ = try lab.clean()
  }

  /// Where no more files can be opened the start says so, and nothing stays.
  @Test(arguments: [12, 16, 17, 18, 19, 20, 21, 22, 24, 28, 64]) func withoutDescriptors(limit: Int) throws {
    let lab = try KeptLab()
    do {
      #expect(try lab.start("--path nft", by: "prlimit --nofile=\(limit) MARKER").stop() == 0)
    } catch {
      #expect(
        error.description.contains("Too many open files") && !error.description.contains("Fatal error"),
        "\(error)")
      #expect(try lab.pair.near.shell("nft list tables") == "")
    }
    _ = try lab.clean()
  }

  /// A log that cannot be written costs the log.
  @Test func marksAlsoWhereTheLogIsFull() throws {
    let lab = try KeptLab()
    let folder = try shell("mktemp -d /tmp/marker-lab-XXXXXX").filter { $0 != "\n" }
    defer { _ = try? shell("rm -rf \(folder)") }
    let pid = try lab.pair.near.run { () throws(SystemError) in
      try startShell(
        "exec \(MarkerProcess.binary) --interface near0 --path nft --pipe \(folder)/pipe --no-remote-fireflies --api none "
          + "--cgroup none --clean --log-level debug 2>/dev/full")
    }
    for _ in 0..<1000 where access("\(folder)/pipe", F_OK) != 0 { usleep(10_000) }
    try shell("timeout 10 sh -c 'echo \"\(lab.line("start").dropLast())\" >\(folder)/pipe'")
    try lab.wait(isMarked: true)
    kill(pid, SIGTERM)
    var status: Int32 = -1
    waitpid(pid, &status, 0)
    #expect(status == 0)
    #expect(try !lab.isMarked())
  }

  /// A collector whose name nobody resolves, or answers for, holds up neither marks nor the end.
  @Test func aNameServerThatSaysNothing() throws {
    let lab = try KeptLab()
    let resolver = try shell("mktemp /tmp/marker-lab-XXXXXX").filter { $0 != "\n" }
    defer { _ = try? shell("rm -f \(resolver)") }
    try shell("echo 'nameserver \(VethPair.far6)' >\(resolver)")
    let marker = try lab.start(
      "--path nft --collector collector.example.org --clean",
      by:
        "unshare --mount --propagation private sh -c 'mount --bind \(resolver) /etc/resolv.conf && exec MARKER'"
    )
    let deaf = try LabSocket(.udp, in: lab.pair.far, bound: Endpoint(Conversation.address(VethPair.far6), 53))
    try marker.tell(lab.line("start"))
    try lab.wait(isMarked: true)
    #expect(try deaf.receive(within: 10_000) != nil, "it asks")
    #expect(marker.stop() == 0, "\(marker.log)")
    #expect(try !lab.isMarked())
  }
}
