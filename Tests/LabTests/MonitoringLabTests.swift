import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import Marker

/// What a running daemon tells of itself.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct MonitoringLabTests {
  private static let cms = #"experiment="cms",activity="Analysis Input",family="ipv6""#
  private static let packets = "marker_marked_packets_total{\(cms),path=\"tc\",direction=\"out\"}"

  @Test func statusTellsWhatWorksAndWhatWasDone() throws {
    let lab = try MonitoringLab("--path tc --strategy auto --collector COLLECTOR")
    let flow = try Conversation.udp(lab.pair)
    try lab.tag(flow)
    for _ in 0..<7 { try flow.near.send([1]) }
    try lab.marker.tell("start tpc\n")
    #expect(lab.marker.waitForLog("a pipe line is not a flow"))
    _ = try lab.scrape(until: Self.packets, atLeast: 7)
    let status = try lab.run("status")
    #expect(status.status == "exit 0" && status.text.hasPrefix("healthy\n"), "\(status)")
    for words in [
      "near0      IPv6    tc    marks  the flow label on IPv6", "1 now, of 1,000,000 at most", "malformed 1",
      "marked: 7 packets", "cms/Analysis Input  IPv6", "127.0.0.1:",
    ] {
      #expect(status.text.contains(words), "\(words) in \(status.text)")
    }
    let json = try JSONValue(try lab.run("status --json").text)
    #expect(json["health"].text == "healthy" && json["marked"]["packets"].number == 7)
    #expect(json["tags"].items.first?["name"].text == "cms/Analysis Input")
    #expect(json["places"].items.allSatisfy { $0["marks"].isTrue } && json["places"].items.count == 2)
    // Without its interface nothing is marked any more.
    try lab.pair.near.shell("ip link del near0")
    #expect(lab.marker.waitForLog("an interface is gone"))
    let failing = try lab.run("status")
    #expect(failing.status == "exit 3" && failing.text.hasPrefix("failing\n"), "\(failing)")
    #expect(failing.text.contains("! no interface is there to mark on"))
    #expect(lab.marker.stop() == 0)
    for command in ["status", "top --once"] {
      let none = try lab.run(command)
      #expect(none.status == "exit 1" && none.text.contains("there is no such socket"), "\(none)")
      #expect(none.text.contains("systemctl start marker"))
    }
  }

  /// Sums outlive flows, paths and reconfigurations.
  @Test func countersNeverGoDown() throws {
    let configuration = """
      interfaces: [near0]
      pipes: [PIPE]
      path: tc
      fireflies: {remoteEnds: false, collectors: ["COLLECTOR"]}
      sockets: {cgroup: \(ProcessGroup.folder)}
      """
    let lab = try MonitoringLab(configuration: configuration)
    var before: [String: Double] = [:]
    func compare(_ samples: [String: Double], _ step: String) {
      for (name, value) in before where name.contains("_total") {
        #expect(
          samples[name].map { $0 >= value } == true, "\(step): \(name) \(value) -> \(samples[name] ?? .nan)")
      }
      before = samples
    }
    for round in 1...3 {
      let flow = try Conversation.tcp(lab.pair)
      try lab.tag(flow)
      try flow.transfer(200_000)
      compare(try lab.scrape(), "round \(round), live")
      try lab.tag(flow, "end")
      let socket = "marker_socket_bytes_total{\(Self.cms),direction=\"out\"}"
      compare(try lab.scrape(until: socket, atLeast: Double(round) * 200_000), "round \(round), ended")
      #expect(before[socket] ?? 0 >= Double(round) * 200_000)
      #expect(before["marker_flows{\(Self.cms)}"] == 0)
      #expect(before["marker_flows_ended_total{\(Self.cms)}"] == Double(round))
    }
    let flow = try Conversation.udp(lab.pair)
    try lab.tag(flow)
    for _ in 0..<5 { try flow.near.send([1]) }
    compare(try lab.scrape(), "before the reload")
    try lab.marker.configure(
      configuration.replacing("path: tc", with: "path: nft").replacing("COLLECTOR", with: "127.0.0.1:8"))
    #expect(lab.marker.waitForLog("configuration read again", seconds: 30))
    for _ in 0..<5 { try flow.near.send([1]) }
    compare(
      try lab.scrape(
        until: Self.packets.replacing("path=\"tc\"", with: "path=\"nft\""), atLeast: 5), "after the reload")
    #expect(before[Self.packets.replacing("path=\"tc\"", with: "path=\"nft\"")] == 5)
    #expect(
      before.contains {
        $0.key.hasPrefix("marker_fireflies_sent_total{destination=\"127.0.0.1:") && $0.value >= 7
      })
    #expect(lab.marker.stop() == 0)
  }

  @Test func metricsHaveAListenerOfTheirOwn() throws {
    let lab = try MonitoringLab("--metrics 127.0.0.1:9464")
    func code(_ path: String) throws -> String {
      try lab.pair.near.shell(
        "curl -s -m 10 -o /dev/null -w '%{http_code} %{content_type}' http://127.0.0.1:9464\(path)")
    }
    #expect(try code("/metrics") == "200 text/plain; version=0.0.4; charset=utf-8")
    for path in ["/", "/v1/status", "/status.js", "/flow"] { #expect(try code(path).hasPrefix("404")) }
    let open = try lab.pair.near.shell(
      "curl -s -m 10 -H 'Accept: application/openmetrics-text' http://127.0.0.1:9464/metrics")
    #expect(open.hasSuffix("\n# EOF\n") && open.contains("# UNIT process_resident_memory_bytes bytes\n"))
    let refused = #expect(throws: SystemError.self) {
      try MarkerProcess("--interface near0 --metrics 0.0.0.0:9465", in: lab.pair.near)
    }
    #expect(refused?.description.contains("metrics.allow") == true, "\(String(describing: refused))")
    #expect(lab.marker.stop() == 0)
  }

  /// The page for browsers only; whoever does not ask for HTML has what flowd-go's clients know.
  @Test func theRootIsNegotiated() throws {
    let lab = try MonitoringLab()
    func head(_ accept: String) throws -> String {
      try lab.pair.near.shell("curl -s -m 10 -i \(accept) http://127.0.0.1:7777/").lowercased()
    }
    for accept in ["", "-H 'Accept: */*'", "-H 'Accept: application/json'", "-H 'Accept:'"] {
      let answer = try head(accept)
      #expect(answer.contains("content-type: application/json") && answer.contains("\"apiroutes\":["))
    }
    let page = try head("-H 'Accept: text/html,application/xhtml+xml,*/*;q=0.8'")
    #expect(page.contains("content-type: text/html; charset=utf-8") && page.contains("<!doctype html>"))
    #expect(page.contains("content-security-policy: default-src 'none';") && page.contains("vary: accept"))
    #expect(!page.contains("http://") && !page.contains("https://"), "no assets of others")
    #expect(lab.marker.stop() == 0)
  }

  @Test func theLogIsStructured() throws {
    let pair = try VethPair()
    let journal = try MarkerProcess(
      "--interface near0 --pipe PIPE --no-remote-fireflies", in: pair.near,
      by: "sh -c 'exec env JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) MARKER'")
    #expect(journal.log.contains("<6>level=info msg=ready\n") && !journal.log.contains("time="))
    try journal.tell("start \u{1b}[31m\n")
    #expect(journal.waitForLog("<4>level=warning msg=\"a pipe line is not a flow\""))
    #expect(!journal.log.contains("\u{1b}"))
    #expect(journal.stop() == 0)
    let json = try MarkerProcess(
      "--config CONFIG",
      configuration: """
        interfaces: [near0]
        pipes: [PIPE]
        fireflies: {remoteEnds: false}
        sockets: {cgroup: \(ProcessGroup.folder)}
        """, in: pair.near)
    #expect(json.log.hasPrefix("time=20"))
    try json.configure(
      "interfaces: [near0]\npipes: [PIPE]\nfireflies: {remoteEnds: false}\nlog: {format: json}\nsockets: {cgroup: \(ProcessGroup.folder)}\n"
    )
    #expect(json.waitForLog("\"msg\":\"configuration read again\""), "\(json.log)")
    let last = try JSONValue(String(json.log.split(separator: "\n").last ?? ""))
    #expect(last["level"].text == "info" && last["changed"].text == "log.format")
    #expect(json.stop() == 0)
  }
}
