import CLinux
import Flow
import Glibc
import Lab
import Linux
import Synchronization
import Testing

@testable import Marker

/// What the daemon tells systemd, heard at the socket that systemd would have.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ServiceManagerLabTests {
  private let folder: String

  init() throws { folder = try shell("mktemp -d /tmp/marker-notify-XXXXXX").filter { $0 != "\n" } }

  @Test(arguments: [true, false]) func tellsItsLife(isAbstract: Bool) throws {
    defer { _ = try? shell("rm -r \(folder)") }
    let pair = try VethPair()
    // Abstract names belong to the network namespace, so the ear is in the daemon's.
    let name = isAbstract ? "@\(folder)" : "\(folder)/notify"
    let ear = try pair.near.run { try ServiceManagerEar(name) }
    let marker = try MarkerProcess(
      "--config CONFIG --pipe PIPE", configuration: "interfaces: [near0]\npath: tc\n", in: pair.near,
      by: "env NOTIFY_SOCKET='\(name)' WATCHDOG_USEC=3000000 MARKER")
    let ready = ear.nextWord()
    #expect(ready == "READY=1\nSTATUS=marking the flow label on IPv6 by tc on near0")

    try marker.configure("interfaces: [near0]\npath: tc\nlog: {level: debug}\n")
    let reloading = try #require(ear.nextWord())
    #expect(reloading.hasPrefix("RELOADING=1\nMONOTONIC_USEC="))
    // CLOCK_MONOTONIC, not the clock that includes sleep; they may be the same here.
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    let told = try #require(Int(reloading.drop { !$0.isNumber }.dropFirst().drop { !$0.isNumber }))
    #expect((0...Int(now.tv_sec + 1) * 1_000_000).contains(told))
    #expect(ear.nextWord()?.hasPrefix("READY=1\nSTATUS=marking") == true)

    try marker.configure("interfaces: {\n")
    #expect(ear.nextWord()?.hasPrefix("RELOADING=1") == true)
    let refused = try #require(ear.nextWord())
    #expect(refused.hasPrefix("READY=1\nSTATUS=marking") && refused.contains("was not taken over"))
    #expect(refused.split(separator: "\n").count == 2, "an error of several lines is one line there")

    #expect(marker.stop() == 0)
    #expect(ear.nextWord()?.hasPrefix("STOPPING=1") == true)
  }

  /// Signs of life come from the thread that marks: without it they end, though the process lives.
  @Test func theTableWriterIsWatched() throws {
    defer { _ = try? shell("rm -r \(folder)") }
    let pair = try VethPair()
    let ear = try pair.near.run { try ServiceManagerEar("\(folder)/notify") }
    let marker = try MarkerProcess(
      "--interface near0 --path tc --pipe PIPE", in: pair.near,
      by: "env NOTIFY_SOCKET='\(folder)/notify' WATCHDOG_USEC=600000 MARKER")
    for _ in 0..<5 {
      var message = ear.next()
      while let other = message, other != "WATCHDOG=1" { message = ear.next() }
      #expect(message == "WATCHDOG=1")
    }
    marker.signal(SIGSTOP)
    while ear.next(seconds: 3) != nil {}
    #expect(ear.next(seconds: 2) == nil, "one that hangs gives none")
    marker.signal(SIGCONT)
    #expect(ear.next() == "WATCHDOG=1")
    #expect(marker.stop() == 0)
  }

  @Test func anotherProcesssWatchdogIsNotFed() {
    let mine = "\(getpid())"
    #expect(ServiceManager.watchdogTime { ["WATCHDOG_USEC": "5", "WATCHDOG_PID": mine][$0] } == 5)
    #expect(ServiceManager.watchdogTime { ["WATCHDOG_USEC": "5"][$0] } == 5)
    #expect(ServiceManager.watchdogTime { ["WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"][$0] } == nil)
    #expect(ServiceManager.watchdogTime { ["WATCHDOG_USEC": "never"][$0] } == nil)
    #expect(ServiceManager.watchdogTime { _ in nil } == nil)
  }

  /// A manager that is not there, or whose address nobody knows, is told of and keeps nobody from marking.
  @Test(arguments: ["/nonexistent/notify", "vsock:2:1234", "@" + String(repeating: "a", count: 200)])
  func runsWithoutOneThatListens(name: String) throws {
    defer { _ = try? shell("rm -r \(folder)") }
    let pair = try VethPair()
    let marker = try MarkerProcess(
      "--interface near0 --path tc --pipe PIPE", in: pair.near, by: "env NOTIFY_SOCKET='\(name)' MARKER")
    #expect(marker.waitForLog("service manager"))
    #expect(marker.stop() == 0)
  }

  /// By the numbers of sysexits.h.
  @Test func exitStatusesSayWhy() throws {
    defer { _ = try? shell("rm -r \(folder)") }
    let pair = try VethPair()
    func status(_ arguments: String, by user: String = "") throws -> String {
      let command = "\(user) \(MarkerProcess.binary) \(arguments) >\(folder)/out 2>&1; echo $?"
      return try pair.near.shell(command).filter { $0 != "\n" }
    }
    try shell("echo 'interfaces: {' > \(folder)/wrong.yaml; chmod 755 \(folder)")
    #expect(try status("run --config \(folder)/wrong.yaml") == "78")
    #expect(try status("check \(folder)/wrong.yaml") == "78")
    #expect(try status("run --interface near0 --path xdp") == "78")
    #expect(try status("run --nonsense") == "64")
    let marker = try MarkerProcess("--interface near0 --path tc --pipe PIPE", in: pair.near)
    #expect(try status("run --interface near0 --api none --pipe \(folder)/pipe") == "75")
    #expect(marker.stop() == 0)
    // Without rights tc cannot be had, and it was named.
    try shell("cp \(MarkerProcess.binary) \(folder)/marker; chmod 755 \(folder)/marker")
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    let refused = try pair.near.shell(
      "\(nobody) \(folder)/marker run --interface near0 --path tc --api none --pipe /tmp/marker-nobody-\(getpid()) >/dev/null 2>&1; echo $?"
    )
    #expect(refused.filter { $0 != "\n" } == "69")
    let unreadable = try pair.near.shell(
      "mkdir \(folder)/closed; chmod 755 \(folder)/closed; \(nobody) \(folder)/marker run --interface near0 --api none --pipe \(folder)/closed/pipe >/dev/null 2>&1; echo $?"
    )
    #expect(unreadable.filter { $0 != "\n" } == "77")
  }

  /// As the unit has it: a user with three capabilities and nothing else marks.
  @Test func marksWithThreeCapabilities() throws {
    defer { _ = try? shell("rm -r \(folder)") }
    let pair = try VethPair()
    let (user, three) = (65534, "-all,+net_admin,+bpf,+perfmon")
    try shell("chmod 755 \(folder); cp \(MarkerProcess.binary) \(folder)/marker")
    try shell("mkdir \(folder)/run && chown \(user) \(folder)/run")
    let marker = try MarkerProcess(
      "--interface near0 --strategy auto --path tc --pipe \(folder)/run/pipe --no-remote-fireflies",
      in: pair.near,
      by: """
        setpriv --reuid \(user) --regid \(user) --clear-groups --no-new-privs --inh-caps=\(three) --ambient-caps=\(three) \
        --bounding-set=\(three) sh -c 'exec \(folder)/marker "$@"' MARKER
        """)
    let flow = try Conversation.udp(pair)
    let (local, remote) = (flow.key.local, flow.key.remote)
    try shell(
      "echo 'start udp \(local.address) \(local.port) \(remote.address) \(remote.port) 2 17' > \(folder)/run/pipe"
    )
    var isMarked = false
    for _ in 0..<60 where !isMarked {
      let capture = try Capture("far0", in: pair.far)
      try flow.near.send([1, 2, 3])
      let frames = try capture.frames(quiet: 50).of(flow.key)
      isMarked = frames.contains { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 }
    }
    #expect(isMarked)
    #expect(marker.stop() == 0)
  }
}
