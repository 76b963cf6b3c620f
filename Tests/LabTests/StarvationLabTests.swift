import Flow
import Glibc
import Lab
import Linux
import Synchronization
import Testing

/// Others take all processors: loops of real-time priority, two on each, for two and a half seconds. The kernel leaves
/// all else a twentieth (sched_rt_runtime_us of sched(7)). Whatever else runs meanwhile starves too, other tests among it:
/// `make test` runs these after all others.
@Suite(.serialized, .enabled(if: geteuid() == 0 && isAlone, "needs root, and MARKER_TESTS_ALONE=1"))
struct StarvationLabTests {
  /// Those who take the processors, and those who send and tell meanwhile, because a test that starves too sees nothing.
  private static let (spinning, working): (Int32, Int32) = (50, 60)
  /// Every loop ends by a signal of a process that has the higher priority, and else by its limit of processor time.
  private static let spinners = """
    for cpu in $(seq 0 $(($(nproc --all) - 1))); do for each in 1 2; do
      timeout -s KILL 2.5 chrt -f \(spinning) taskset -c $cpu sh -c 'ulimit -t 4; while :; do :; done' &
    done; done; wait
    """

  /// What the threads tell each other.
  private final class Meanwhile: Sendable {
    let isOver = Atomic(false)
    /// Of a thread without priority that sleeps for ten milliseconds each time.
    let turns = Atomic(0)
    let starvedTurns = Atomic(0)
    let failure = Mutex<(any Error)?>(nil)
  }

  /// Runs the body on a thread of high priority.
  private func urgently(_ meanwhile: Meanwhile, _ body: @Sendable @escaping () throws -> Void) throws {
    do {
      let thread = try OwnedThread(named: "urgent") {
        do {
          var parameters = sched_param(sched_priority: Self.working)
          try system("sched_setscheduler") { sched_setscheduler(0, SCHED_FIFO, &parameters) }
          try body()
        } catch {
          meanwhile.failure.withLock { $0 = error }
        }
      }
      extendLifetime(thread)
    }
    if let error = meanwhile.failure.withLock({ $0 }) { throw error }
  }

  private func line(_ state: String, _ flow: Conversation) -> String {
    let (local, remote) = (flow.key.local, flow.key.remote)
    return "\(state) udp \(local.address) \(local.port) \(remote.address) \(remote.port) 2 17\n"
  }

  private func body(_ flow: Conversation) -> String {
    let (local, remote) = (flow.key.local, flow.key.remote)
    return
      #"{"protocol":"udp","source":{"address":"\#(local.address)","port":\#(local.port)},"#
      + #""destination":{"address":"\#(remote.address)","port":\#(remote.port)},"experiment":2,"activity":17}"#
  }

  private func isMarked(_ frame: Frame) -> Bool { frame.flowLabel & ~FlowLabel.entropyMask == 0x10044 }

  /// What is marked stays so; what is told of meanwhile is marked once there is time again, and announced once; nothing
  /// ends, and nothing crashes.
  @Test(arguments: ["tc", "nft"]) func marksGoOnAndNothingIsLost(path: String) throws {
    let pair = try VethPair()
    let ear = try Peer(pair, port: 10514)
    let old = try Conversation.udp(pair)
    let piped = try (0..<50).map { _ in try Conversation.udp(pair) }
    let asked = try (0..<5).map { _ in try Conversation.udp(pair) }
    let manager = try pair.near.run { try ServiceManagerEar("@marker-starved-\(getpid())-\(path)") }
    let marker = try MarkerProcess(
      "--interface near0 --pipe PIPE --api API --collector [\(VethPair.far6)]:10514 --no-remote-fireflies --firefly-period none --path \(path)",
      in: pair.near, by: "env NOTIFY_SOCKET='\(manager.name)' WATCHDOG_USEC=6000000 MARKER")
    try marker.tell(line("start", old))
    #expect(try ear.heard(atLeast: 1).count == 1)
    let answers = "\(marker.folder)/answers"
    let requests = asked.map {
      "curl -s -m 20 -o /dev/null -w '%{http_code} ' --unix-socket \(marker.api) -d '\(body($0))' http://localhost/v1/flows"
    }

    let capture = try Capture("far0", in: pair.far)
    let meanwhile = Meanwhile()
    let idler = try OwnedThread(named: "idler") {
      while !meanwhile.isOver.load(ordering: .relaxed) {
        usleep(10_000)
        meanwhile.turns.add(1, ordering: .relaxed)
      }
    }
    defer {
      meanwhile.isOver.store(true, ordering: .relaxed)
      extendLifetime(idler)
    }
    try urgently(meanwhile) {
      while manager.next(seconds: 0) != nil {}
      let spinners = try startShell(Self.spinners)
      usleep(200_000)
      let before = meanwhile.turns.load(ordering: .relaxed)
      let began = MonotonicTime.now()
      let client = try startShell("{ \(requests.joined(separator: "; ")); } >\(answers)")
      for turn in 0..<2000 {
        try old.near.send([1])
        if turn % 40 == 0 { try marker.tell(line("start", piped[turn / 40])) }
        // While the loops are sure to run.
        if MonotonicTime.now().microseconds(since: began) < 1_800_000 {
          meanwhile.starvedTurns.store(
            meanwhile.turns.load(ordering: .relaxed) - before, ordering: .relaxed)
        }
        usleep(1000)
      }
      waitpid(spinners, nil, 0)
      waitpid(client, nil, 0)
    }
    // What it takes until here and this are less than the watchdog's time.
    #expect(manager.next(seconds: 3) == "WATCHDOG=1")
    // Of a hundred and eighty; with more the loops did not take the processors.
    #expect(meanwhile.starvedTurns.load(ordering: .relaxed) < 120)

    let frames = try capture.frames().of(old.key)
    let unmarked = frames.filter { !isMarked($0) }.count
    #expect(frames.count == 2000 && unmarked == 0, "\(unmarked) of \(frames.count)")
    #expect(try shell("cat \(answers)") == String(repeating: "201 ", count: asked.count))
    let told = try ear.heard(atLeast: piped.count + asked.count)
    #expect(told.count == piped.count + asked.count)
    #expect(told.allSatisfy { $0.contains(#""state":"start""#) }, "nothing ended")
    for flow in piped + asked {
      let after = try Capture("far0", in: pair.far)
      try flow.near.send([1])
      #expect(try after.frames(quiet: 10).of(flow.key).map(isMarked) == [true])
    }
    #expect(!marker.log.contains("level=error"), "\(marker.log)")
    #expect(marker.stop() == 0)
    let ends = try ear.heard(atLeast: 1 + piped.count + asked.count)
    #expect(ends.count == 1 + piped.count + asked.count && ends.allSatisfy { $0.contains(#""state":"end""#) })
  }
}

private var isAlone: Bool { getenv("MARKER_TESTS_ALONE") != nil }
