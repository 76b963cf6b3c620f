import Flow
import Glibc
import Lab
import Linux
import Testing

private let near = "2001:db8::1"
private let far = "2001:db8::2"

/// What a collector in the far namespace hears.
private struct Ear {
  let socket: LabSocket

  init(_ pair: VethPair, address: String = far, port: UInt16 = 10514) throws {
    socket = try LabSocket(.udp, in: pair.far, bound: Endpoint(try Conversation.address(address), port))
    try socket.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 128 << 20)
  }

  /// All that comes until it is quiet for a while.
  ///
  /// - Parameter least: so many are waited for longer: the machine may be busy.
  func fireflies(atLeast least: Int = 0, quiet: Int32 = 300) throws -> [String] {
    var heard: [String] = []
    while let datagram = try socket.receive(within: heard.count < least ? 10_000 : quiet) {
      heard.append(String(decoding: datagram, as: UTF8.self))
    }
    return heard
  }
}

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct DaemonLabTests {
  private let arguments =
    "--interface near0 --pipe PIPE --no-remote-fireflies --firefly-period none --collector [\(far)]:10514"

  private func udp(_ pair: VethPair) throws -> (Conversation, line: String) {
    let flow = try Conversation.udp(pair)
    return (flow, "udp \(near) \(flow.key.local.port) \(far) \(flow.key.remote.port) 3 14\n")
  }

  private func labels(_ pair: VethPair, _ flow: Conversation) throws -> [UInt32] {
    let capture = try Capture("far0", in: pair.far)
    try flow.near.send([1, 2, 3])
    return try capture.frames().of(flow.key).map { $0.flowLabel & ~FlowLabel.entropyMask }
  }

  @Test func fromTheLineToTheWireAndTheCollector() throws {
    let pair = try VethPair()
    let ear = try Ear(pair)
    let marker = try MarkerProcess(arguments, in: pair.near)
    let (flow, line) = try udp(pair)
    try marker.tell("start \(line)")
    let start = try ear.fireflies()
    // The firefly comes after the mark: whoever has it sees marked packets only.
    #expect(start.count == 1 && start[0].contains(#""state":"start""#), "\(start)")
    #expect(try labels(pair, flow) == [0x30038])
    try marker.tell("end \(line)")
    let end = try ear.fireflies()
    #expect(
      end.count == 1 && end[0].contains(#""state":"end""#)
        && end[0].contains(#""usage":{"received":0,"sent":51}"#),
      "\(end)")
    #expect(try labels(pair, flow) != [0x30038])
    #expect(marker.stop() == 0)
    #expect(access(marker.pipe, F_OK) != 0, "its pipe is gone")
  }

  @Test func everyStopIsClean() throws {
    let pair = try VethPair()
    for _ in 0..<12 {
      let marker = try MarkerProcess(arguments, in: pair.near)
      try marker.tell("start tcp \(near) 1 \(far) 2 3 14\n")
      #expect(marker.stop() == 0, "\(marker.log)")
    }
  }

  @Test func aCatOfManyLinesLosesNone() throws {
    let pair = try VethPair()
    let ear = try Ear(pair)
    let marker = try MarkerProcess(arguments, in: pair.near)
    let count = 20_000
    func lines(_ state: String) -> String {
      (0..<count).map { "\(state) tcp \(near) \(1 + $0 % 60_000) \(far) \(1000 + $0 / 60_000) atlas 17\n" }
        .joined()
    }
    try marker.tell(lines("start"))
    #expect(try ear.fireflies(quiet: 1000).count == count)
    try marker.tell(lines("end"))
    // Only a flow that was in the kernel's map has a count.
    #expect(try ear.fireflies(quiet: 1000).filter { $0.contains(#""usage""#) }.count == count)
  }

  @Test func writersAtTheSameTime() throws {
    let pair = try VethPair()
    let ear = try Ear(pair)
    let marker = try MarkerProcess(arguments, in: pair.near)
    try shell(
      """
      for writer in $(seq 1 20); do (for port in $(seq 1 50); do
        echo "start tcp \(near) $port \(far) $((1000 + writer)) 2 17"; done > \(marker.pipe)) & done; wait
      """)
    #expect(
      Set(try ear.fireflies(quiet: 500).compactMap { $0.split(separator: "\"flow-id\"").last }).count == 1000)
  }

  @Test func aWriterThatNeverStopsHoldsUpNobody() throws {
    let pair = try VethPair()
    let ear = try Ear(pair)
    let marker = try MarkerProcess(arguments + " --pipe PIPE2", in: pair.near)
    // The same flow over and over: refreshed, never announced again.
    try shell("(timeout 20 yes 'start tcp \(near) 1 \(far) 2 3 14' > \(marker.pipe)) >/dev/null 2>&1 &")
    #expect(try ear.fireflies(atLeast: 1).count == 1)
    try shell("echo 'start tcp \(near) 3 \(far) 4 3 14' > \(marker.pipe)2")
    #expect(try ear.fireflies(atLeast: 1).count == 1, "the other pipe is read")
    #expect(marker.stop() == 0, "and it stops")
    #expect(try ear.fireflies(atLeast: 2).count == 2)
  }

  @Test func badLinesAreNamedAndCostNothingElse() throws {
    let pair = try VethPair()
    let ear = try Ear(pair)
    let marker = try MarkerProcess(arguments, in: pair.near)
    let (flow, line) = try udp(pair)
    let long = String(repeating: "x", count: 9000)
    try marker.tell(
      "start tpc ::1 1 ::2 2 3 14\n\u{0}\u{1}\n\(long)\nstart udp \(near) 1 \(far) 2 196664 1\nstart \(line)")
    #expect(try ear.fireflies().count == 1)
    #expect(try labels(pair, flow) == [0x30038])
    #expect(
      marker.waitForLog(
        "column 7: expected a protocol: tcp, udp or sctp, in \\\"start tpc ::1 1 ::2 2 3 14\\\""))
    #expect(marker.waitForLog("a line shorter than 4096 bytes"))
    #expect(marker.waitForLog("196664 is the flow label of cms/Analysis Input (206)"))
    // A line without its newline counts once its writer has gone.
    let (second, secondLine) = try udp(pair)
    try marker.tell("start \(secondLine.dropLast())")
    #expect(try ear.fireflies().count == 1)
    #expect(try labels(pair, second) == [0x30038])
  }

  @Test func anInterfaceThatVanishesAndReturns() throws {
    let pair = try VethPair()
    try pair.near.shell(
      "ip link add aux0 type veth peer name aux1 && ip link set aux0 up && ip link set aux1 up")
    let marker = try MarkerProcess(
      "--interface near0 --interface aux0 --pipe PIPE --no-remote-fireflies", in: pair.near)
    try marker.tell("start udp 2001:db8:5::1 5 2001:db8:5::2 6 3 14\n")
    try pair.near.shell("ip link del aux0")
    #expect(marker.waitForLog("an interface is gone"))
    try pair.near.shell(
      """
      ip link add aux0 type veth peer name aux1
      ip addr add 2001:db8:5::1/64 dev aux0 nodad && ip link set aux0 up && ip link set aux1 up
      ip neigh replace 2001:db8:5::2 lladdr 02:00:00:00:00:09 dev aux0 nud permanent
      """)
    #expect(
      (0..<100).contains { _ in
        marker.log.split(separator: "\n").filter {
          $0.contains("interface=aux0") && $0.contains("msg=marking ")
        }
        .count == 2 || usleep(20_000) != 0
      })
    let capture = try Capture("aux1", in: pair.near)
    let socket = try LabSocket(
      .udp, in: pair.near, bound: Endpoint(try Conversation.address("2001:db8:5::1"), 5))
    try socket.send([1], to: Endpoint(try Conversation.address("2001:db8:5::2"), 6))
    let frames = try capture.frames().filter { $0.transport == 17 }
    #expect(frames.map { $0.flowLabel & ~FlowLabel.entropyMask } == [0x30038])
    #expect(marker.stop() == 0)
  }

  @Test func renamedAwayMeansNotMarkedAnyMore() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(arguments, in: pair.near)
    let (flow, line) = try udp(pair)
    try marker.tell("start \(line)")
    #expect(try (0..<50).contains { _ in try labels(pair, flow) == [0x30038] })
    try pair.near.shell("ip link set near0 down; ip link set near0 name was0; ip link set was0 up")
    try pair.near.shell(
      "ip addr replace \(near)/64 dev was0 nodad; ip neigh replace \(far) lladdr 02:00:00:00:00:02 dev was0")
    #expect(marker.waitForLog("an interface is gone"))
    #expect(try labels(pair, flow).first != 0x30038)
  }

  @Test func fireflyToTheRemoteEndLeavesFromTheFlowsAddress() throws {
    let pair = try VethPair()
    try pair.near.shell("ip addr add 2001:db8::77/64 dev near0 nodad")
    let ear = try Ear(pair)
    let marker = try MarkerProcess("--interface near0 --pipe PIPE", in: pair.near)
    let capture = try Capture("far0", in: pair.far)
    for address in [near, "2001:db8::77"] { try marker.tell("start tcp \(address) 7 \(far) 8 3 14\n") }
    #expect(try ear.fireflies().count == 2)
    let sources = try capture.frames().filter { $0.destinationPort == 10514 }.map(\.source.description)
    #expect(Set(sources) == [near, "2001:db8::77"])
  }

  @Test func aSecondReaderOfAPipeIsRefused() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(arguments, in: pair.near)
    let error = #expect(throws: SystemError.self) {
      // Of another network namespace: in its own a second daemon is refused before.
      try MarkerProcess(
        arguments.replacing("PIPE", with: marker.pipe).replacing("near0", with: "far0"), in: pair.far)
    }
    #expect(
      error?.description.contains("another process reads already") == true, "\(String(describing: error))")
    #expect(marker.stop() == 0)
  }

  @Test func theLogsReaderMayGo() throws {
    let pair = try VethPair()
    let folder = try shell("mktemp -d").filter { $0 != "\n" }
    defer { _ = try? shell("rm -rf \(folder)") }
    // head goes after the first line; bad lines make the daemon log more.
    try pair.near.shell(
      """
      (\(MarkerProcess.binary) --api none --interface near0 --pipe \(folder)/pipe --no-remote-fireflies 2>&1 & echo $! > \(folder)/pid; wait) \
        | head -n 1 > /dev/null &
      until [ -p \(folder)/pipe ]; do sleep 0.05; done; sleep 0.3
      for line in 1 2 3; do echo nonsense > \(folder)/pipe; done; sleep 0.2
      kill -0 $(cat \(folder)/pid) && kill $(cat \(folder)/pid)
      """)
  }

  @Test func aPartThatFailsEndsTheDaemonWithItsError() throws {
    let pair = try VethPair()
    // Too few descriptors for one part or another: it must not live on as if it worked.
    for limit in 18...38 {
      let output = try pair.near.shell(
        """
        folder=$(mktemp -d); ulimit -n \(limit)
        \(MarkerProcess.binary) --api none --interface near0 --pipe $folder/pipe --no-remote-fireflies > $folder/log 2>&1 &
        sleep 0.4; kill $! 2>/dev/null; for try in $(seq 1 100); do kill -0 $! 2>/dev/null || break; sleep 0.05; done
        kill -0 $! 2>/dev/null && { echo STUCK; kill -9 $!; }
        wait; cat $folder/log; rm -r $folder
        """)
      #expect(!output.contains("STUCK"), "with \(limit) descriptors: \(output)")
    }
  }

  @Test func killedAndStartedAgain() throws {
    let pair = try VethPair()
    let marker = try MarkerProcess(arguments, in: pair.near)
    let pipe = marker.pipe
    _ = marker.stop(SIGKILL)
    let second = try MarkerProcess(arguments.replacing("PIPE", with: pipe), in: pair.near)
    let (flow, line) = try udp(pair)
    try shell("echo 'start \(line.dropLast())' > \(pipe)")
    #expect(try (0..<50).contains { _ in try labels(pair, flow) == [0x30038] })
    #expect(second.stop() == 0)
  }

  /// What is wrong on the command line or the host, and what the one line about it says.
  @Test(arguments: [
    ("--interface nope0 --pipe PIPE", "no interface nope0 here"),
    ("--pipe PIPE", "and no --interface: name at least one"),
    ("--interface near0 --pipe /proc/self/environ", "/proc/self/environ"),
    ("--interface near0 --pipe PIPE --collector collector:99999", "99999"),
    ("--interface near0 --pipe PIPE --strategy lable", "lable"),
    ("--interface near0 --pipe PIPE --max-flows 0", "expected a number from 1 to 16000000, not"),
  ])
  func aStartThatFails(arguments: String, says: String) throws {
    let pair = try VethPair()
    let error = #expect(throws: SystemError.self) { try MarkerProcess(arguments, in: pair.near) }
    #expect(error?.description.contains(says) == true, "\(String(describing: error))")
  }

  @Test func aRegularFileInThePipesPlaceIsLeftAlone() throws {
    let pair = try VethPair()
    let path = try shell("mktemp").filter { $0 != "\n" }
    defer { unlink(path) }
    try shell("echo precious > \(path)")
    let error = #expect(throws: SystemError.self) {
      try MarkerProcess("--interface near0 --pipe \(path)", in: pair.near)
    }
    #expect(
      error?.description.contains("use as a named pipe, but it is something else; remove it: \(path)") == true
    )
    #expect(try shell("cat \(path)") == "precious\n")
  }

  @Test func withoutTheRightToLoadBPF() throws {
    let pair = try VethPair()
    let output = #expect(throws: SystemError.self) {
      try pair.near.shell(
        "timeout 5 setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all "
          + "\(MarkerProcess.binary) --api none --path tc --interface near0 --pipe /tmp/marker-nobody-$$ 2>&1"
      )
    }
    #expect(
      output?.description.contains("loading BPF needs root, or CAP_BPF with CAP_NET_ADMIN") == true,
      "\(String(describing: output))")
  }
}
