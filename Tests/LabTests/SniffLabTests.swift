import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import Marker

/// `marker sniff` beside a running daemon, on packets that it marks and on such that it does not.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct SniffLabTests {
  /// A sniffer that runs.
  final class Running {
    let folder: String
    private let pid: pid_t
    private var hasEnded = false

    /// `OUT` in the arguments stands for a path in its folder. Returns once it captures.
    init(_ arguments: String, in namespace: NetworkNamespace) throws {
      let folder = try shell("mktemp -d /tmp/marker-sniff-XXXXXX").filter { $0 != "\n" }
      self.folder = folder
      let options = arguments.replacing("OUT", with: "\(folder)/out.pcapng")
      try shell("touch \(folder)/stdout \(folder)/stderr")
      let command = "exec \(MarkerProcess.binary) sniff \(options) >\(folder)/stdout 2>\(folder)/stderr"
      pid = try namespace.run { () throws(SystemError) in try startShell(command) }
      for _ in 0..<1000 {
        if try said("stderr").contains("capturing at") { return }
        usleep(10_000)
      }
      throw SystemError("sniff: \(try said("stderr"))", code: ETIMEDOUT)
    }

    deinit {
      if !hasEnded { kill(pid, SIGKILL) }
      _ = try? shell("rm -rf \(folder)")
    }

    func said(_ name: String) throws -> String { try shell("cat \(folder)/\(name)") }

    /// Waits for its end, after a signal if one is given; the result is its exit status.
    func end(_ signal: Int32? = nil) throws -> Int32 {
      if let signal { kill(pid, signal) }
      var status: Int32 = 0
      try system("waitpid") { waitpid(pid, &status, 0) }
      hasEnded = true
      return status & 0x7f == 0 ? status >> 8 : -1
    }

    func send(_ signal: Int32) { kill(pid, signal) }

    /// Waits until it has printed a text.
    func waits(for text: String) throws -> Bool {
      for _ in 0..<1500 {
        if try said("stdout").contains(text) { return true }
        usleep(10_000)
      }
      return false
    }
  }

  private func daemon(_ pair: VethPair, _ options: String) throws -> MarkerProcess {
    try MarkerProcess("--pipe PIPE --no-remote-fireflies --api API --path tc \(options)", in: pair.near)
  }

  private func tag(
    _ flow: Conversation, _ marker: MarkerProcess, _ pair: VethPair,
    as tag: String = "cms \"Analysis Input\""
  ) throws {
    let key = flow.key
    try pair.near.shell(
      "\(MarkerProcess.binary) flow start \(key.transport.name) \(key.local.address) \(key.local.port) "
        + "\(key.remote.address) \(key.remote.port) \(tag) --api \(marker.api)")
  }

  @Test func showsLabelsAndCodePointsAndWritesThem() throws {
    let pair = try VethPair()
    let marker = try daemon(pair, "--interface near0 --strategy auto")
    let (six, four) = (try Conversation.udp(pair), try Conversation.udp(pair, ipv4: true))
    for flow in [six, four] { try tag(flow, marker, pair) }
    let sniffer = try Running(
      "-i far0 --experiment cms --marked --no-table --count 4 --json -w OUT", in: pair.far)
    let other = try Conversation.udp(pair, ipv4: true)
    for _ in 0..<2 {
      for flow in [other, six, four] { try flow.near.send([1, 2, 3]) }
    }
    #expect(try sniffer.end() == 0)
    let lines = try sniffer.said("stdout").split(separator: "\n")
    #expect(lines.count == 4)
    #expect(
      lines.filter {
        $0.contains("\"by\":\"label\",\"experiment\":3,\"activity\":14,\"name\":\"cms/Analysis Input\"")
      }.count == 2)
    #expect(
      lines.filter { $0.contains("\"by\":\"dscp\",\"experiment\":3") && $0.contains("\"dscp\":15") }.count
        == 2)
    #expect(lines.allSatisfy { $0.contains("\"direction\":\"in\"") && $0.contains("\"interface\":\"far0\"") })
    #expect(try sniffer.said("stderr").contains("0 dropped by the kernel"))

    let file = "\(sniffer.folder)/out.pcapng"
    let comments = try shell(
      "tshark -r \(file) -T fields -e frame.interface_name -e frame.comment -e udp.length 2>/dev/null")
    #expect(
      comments.split(separator: "\n").filter {
        $0.contains("far0") && $0.contains("cms") && $0.hasSuffix("11")
      }.count == 4, "\(comments)")
    let again = try shell("\(MarkerProcess.binary) sniff -r \(file) --summary --json 2>&1")
    #expect(
      again.contains(
        "\"name\":\"cms/Analysis Input\",\"by\":\"label\",\"experiment\":3,\"activity\":14,\"family\":\"ipv6\",\"packetsIn\":2"
      ), "\(again)")
    let decoded = try shell("\(MarkerProcess.binary) decode \(file) 2>&1")
    #expect(
      decoded.contains("label 0x") && decoded.contains("cms/Analysis Input")
        && decoded.contains("dscp 15 cms"), "\(decoded)")
    // By a pipe, and as a classic file.
    let piped = try shell(
      "editcap -F pcap \(file) - 2>/dev/null | \(MarkerProcess.binary) sniff -r - -4 2>/dev/null")
    #expect(piped.split(separator: "\n").count == 2 && piped.contains("dscp 15 cms"), "\(piped)")
  }

  @Test func tellsWhatIsNotMarkedThoughTheTableSaysSo() throws {
    let pair = try VethPair()
    // The flow is marked at an interface by which its packets do not leave.
    try pair.near.shell("ip link add elsewhere0 type veth peer name elsewhere1")
    let marker = try daemon(pair, "--interface elsewhere0 --strategy auto")
    let (six, four) = (try Conversation.tcp(pair), try Conversation.udp(pair, ipv4: true))
    for flow in [six, four] { try tag(flow, marker, pair) }
    let sniffer = try Running("-i near0 --missing --api \(marker.api)", in: pair.near)
    var isTold = false
    for _ in 0..<200 where !isTold {
      for flow in [six, four] { try flow.near.send([1, 2, 3]) }
      usleep(50_000)
      let said = try sniffer.said("stdout")
      isTold = said.contains("out tcp") && said.contains("out udp")
    }
    #expect(try sniffer.end(SIGINT) == 1)
    let lines = try sniffer.said("stdout").split(separator: "\n")
    #expect(
      isTold && lines.allSatisfy { $0.hasSuffix("MISSING: the flow table says cms/Analysis Input") },
      "\(lines)")
  }

  @Test func whatIsMarkedIsNotMissing() throws {
    let pair = try VethPair()
    let marker = try daemon(pair, "--interface near0 --strategy auto")
    let (six, four) = (try Conversation.tcp(pair), try Conversation.udp(pair, ipv4: true))
    // An experiment that no registry knows: only the table tells that this label is no accident.
    for flow in [six, four] { try tag(flow, marker, pair, as: flow.key.isIPv4 ? "cms 14" : "500 9") }
    let sniffer = try Running("-i near0 --summary --json --api \(marker.api)", in: pair.near)
    for _ in 0..<20 {
      for flow in [six, four] { try flow.near.send([1, 2, 3]) }
      usleep(100_000)
    }
    #expect(try sniffer.end(SIGTERM) == 0)
    let said = try sniffer.said("stdout")
    #expect(
      said.contains("\"name\":\"500/9\",\"by\":\"label\"") && said.contains("\"missing\":[]}"), "\(said)")
    #expect(said.contains("\"name\":\"cms\",\"by\":\"dscp\""), "\(said)")
    #expect(try sniffer.said("stderr").contains(" 0 without the mark that the flow table has"))
  }

  @Test func missingWithoutADaemonIsAnError() throws {
    let pair = try VethPair()
    let said = try pair.near.shell(
      "\(MarkerProcess.binary) sniff -i near0 --missing --api /nonexistent/api 2>&1; echo status $?")
    #expect(said.contains("is the daemon running?") && said.contains("status 75"), "\(said)")
    let none = try pair.near.shell(
      "\(MarkerProcess.binary) sniff -i nothing0 --no-table 2>&1; echo status $?")
    #expect(none.contains("nothing0: No such device") && none.contains("status 71"), "\(none)")
  }

  /// The kernel keeps VLAN tags beside the packet; extension headers and tags of others are read.
  @Test func seesTagsAndExtensionHeaders() throws {
    let pair = try VethPair()
    let marker = try daemon(pair, "--interface near0 --strategy destination")
    let flow = try Conversation.udp(pair)
    try tag(flow, marker, pair)
    let sniffer = try Running(
      "-i far0 --protocol udp --port \(flow.key.local.port) --port 7777 --no-table --count 2 -w OUT --json",
      in: pair.far)
    try flow.near.send([1, 2, 3])
    // A tag that arrives in the frame is beside it by the time that a socket sees it.
    let tagged =
      PacketBuilder.ethernet(0x86dd, tags: [(0x8100, 7)])
      + PacketBuilder.ipv6(label: 0x30038, next: 17, PacketBuilder.udp(7777, 7777))
    try pair.near.shell(
      "python3 -c 'import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((\"near0\", 0)); s.send(bytes(\(tagged)))'"
    )
    #expect(try sniffer.end() == 0)
    #expect(try sniffer.said("stdout").contains("\"by\":\"destination\",\"experiment\":3,\"activity\":14"))
    let fields = try shell(
      "tshark -r \(sniffer.folder)/out.pcapng -T fields -E separator='|' -e vlan.id -e udp.dstport -e ipv6.opt.type 2>/dev/null"
    )
    #expect(fields.contains("7|7777|"), "\(fields)")
    #expect(
      fields.contains("||\(flow.key.remote.port)|") == false && fields.contains("\(flow.key.remote.port)|"),
      "\(fields)")
  }

  /// A sniffer that does not get to read misses packets, and says so.
  @Test func countsWhatTheKernelDrops() throws {
    let pair = try VethPair(offloads: true)
    let flow = try Conversation.tcp(pair)
    let sniffer = try Running("-i near0 --no-table --summary --direction out", in: pair.near)
    sniffer.send(SIGSTOP)
    try flow.transfer(400_000_000)
    sniffer.send(SIGCONT)
    for _ in 0..<50 {
      usleep(20_000)
      try flow.near.send([1])
    }
    #expect(try sniffer.end(SIGINT) == 0)
    let said = try sniffer.said("stderr")
    let dropped = said.split(separator: "\n").last?.split(separator: ", ").last?.prefix { $0.isNumber } ?? ""
    #expect(Int(dropped) ?? 0 > 0, "\(said)")
  }
}
