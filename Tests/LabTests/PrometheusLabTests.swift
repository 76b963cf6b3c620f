import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import Marker

/// A real Prometheus that scrapes a daemon.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct PrometheusLabTests {
  private let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

  /// Every query of the dashboard, as Grafana would send it.
  private func queries() throws -> [String] {
    try shell(
      """
      python3 -c '
      import json
      for panel in json.load(open("\(root)/docs/grafana/marker.json"))["panels"]:
          for target in panel["targets"]:
              print(target["expr"].replace("$__rate_interval", "30s").replace("$instance", ".+"))'
      """
    ).split(separator: "\n").map(String.init)
  }

  @Test func theDashboardHasData() throws {
    let lab = try MonitoringLab(
      configuration: """
        interfaces: [near0]
        path: tc
        pipes: [PIPE]
        fireflies: {remoteEnds: false, collectors: ["COLLECTOR"]}
        metrics: {listen: ["127.0.0.1:9464"], flows: 1}
        sockets: {cgroup: \(ProcessGroup.folder)}
        """)
    let near = lab.pair.near
    let flows = [
      try Conversation.tcp(lab.pair), try Conversation.tcp(lab.pair),
      try Conversation.tcp(lab.pair, ipv4: true),
    ]
    for (flow, tag) in zip(flows, ["cms 'Analysis Input'", "atlas 17", "700 1"]) {
      try lab.tag(flow, "start", tag)
    }
    for flow in flows { try flow.transfer(100_000) }

    for accept in ["", "-H 'Accept: application/openmetrics-text'"] {
      // promtool reads the older format only.
      let check = accept.isEmpty ? "promtool check metrics" : "tail -1"
      let said = try near.shell("curl -sS -m 20 \(accept) http://127.0.0.1:9464/metrics | \(check) 2>&1")
      #expect(said == (accept.isEmpty ? "" : "# EOF\n"), "\(said)")
    }

    let folder = lab.marker.folder
    try shell(
      """
      printf 'global: {scrape_interval: 2s}\\nscrape_configs: [{job_name: marker, static_configs: [{targets: ["127.0.0.1:9464"]}]}]\\n' > \(folder)/prometheus.yml
      promtool check config \(folder)/prometheus.yml
      """)
    let prometheus = try near.run { () throws(SystemError) in
      try startShell(
        "exec prometheus --config.file=\(folder)/prometheus.yml --storage.tsdb.path=\(folder)/prometheus "
          + "--web.listen-address=127.0.0.1:9090 >\(folder)/prometheus.log 2>&1")
    }
    defer {
      kill(prometheus, SIGKILL)
      waitpid(prometheus, nil, 0)
    }
    func ask(_ query: String) throws -> String {
      // Single quotes hold anything but themselves, which PromQL can do without.
      (try? near.shell("promtool query instant http://127.0.0.1:9090 '\(query)' 2>/dev/null")) ?? ""
    }
    func wait(_ query: String) throws -> String {
      for _ in 0..<600 {
        let answer = try ask(query)
        // Without data there is an empty line.
        if answer.contains("=> ") { return answer }
        usleep(200_000)
      }
      return ""
    }
    let isUp = try wait("up == 1").contains("127.0.0.1:9464")
    let said = try shell("tail -5 \(folder)/prometheus.log")
    #expect(isUp, "\(said)")
    let sums = try wait("sum by (experiment, family) (rate(marker_marked_packets_total[30s]))")
    #expect(sums.contains("cms") && sums.contains("atlas"), "\(sums)")
    for query in try queries() {
      #expect(try !wait(query).isEmpty, "\(query) has no data")
    }
    // Prometheus asks for OpenMetrics, so this was read as that.
    #expect(
      try ask("marker_socket_bytes_total{experiment=\"700\", family=\"ipv4\", direction=\"out\"}").contains(
        "=> "))
    #expect(try wait("sum(marker_socket_bytes_total{direction=\"out\"}) >= 300000").contains("=> "))
    #expect(try ask("count(marker_flow_rtt_seconds) == 1").contains("=> 1"))
    #expect(try ask("marker_flow_metrics_left_out").contains("=> 2 "))
    #expect(lab.marker.stop() == 0)
  }
}
