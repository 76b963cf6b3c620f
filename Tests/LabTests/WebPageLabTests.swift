import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import Marker

/// The status page in a real browser.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct WebPageLabTests {
  private static let script = "<img src=x onerror=document.title=1>"

  private func chromium(_ lab: MonitoringLab, _ options: String) throws -> String {
    // Its sandbox is not for root; it meets this page alone, in a namespace without a way out.
    try lab.pair.near.shell(
      "HOME=\(lab.marker.folder) timeout 120 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage "
        + "--no-first-run --disable-background-networking --user-data-dir=\(lab.marker.folder)/chromium "
        + "--virtual-time-budget=6000 --hide-scrollbars \(options) http://127.0.0.1:7777/ 2>\(lab.marker.folder)/chromium.log"
    )
  }

  @Test func aBrowserShowsFlowsAndRunsNothingOfOthers() throws {
    let lab = try MonitoringLab("--path tc --strategy auto --collector COLLECTOR")
    let flows = [try Conversation.tcp(lab.pair), try Conversation.udp(lab.pair, ipv4: true)]
    try lab.tag(flows[0], "start", "3 14 --application '\(Self.script)'")
    try lab.tag(flows[1], "start", "2 17")
    try flows[0].transfer(300_000)
    let page = try chromium(lab, "--dump-dom")
    for part in [
      "data-state=\"healthy\"", "<td>cms/Analysis Input</td>", "]:\(flows[0].key.remote.port)</td>",
      ":\(flows[1].key.remote.port)</td>", "<td>near0</td>", "2 of 2 flows",
      "<td>&lt;img src=x onerror=document.title=1&gt;</td>", "<title>marker</title>",
    ] {
      #expect(page.contains(part), "\(part) in \(page)")
    }
    #expect(!page.contains("<img"))
    #expect(try !shell("cat \(lab.marker.folder)/chromium.log").contains("Content Security Policy"))
    let keep = getenv("MARKER_SCREENSHOTS").map { String(cString: $0) } ?? lab.marker.folder
    for (name, options) in [
      ("light", "--window-size=1280,1100"),
      ("dark-phone", "--window-size=500,1400 --force-dark-mode --blink-settings=preferredColorScheme=0"),
    ] {
      _ = try chromium(lab, "\(options) --screenshot=\(keep)/status-\(name).png")
      // Eight bytes of signature, then the header with width and height (RFC 2083 §3.1 and §4.1.1).
      let header = try shell(
        "od -An -tx1 -N4 \(keep)/status-\(name).png; stat -c %s \(keep)/status-\(name).png"
      )
      .split(whereSeparator: \.isWhitespace)
      #expect(
        header.prefix(4) == ["89", "50", "4e", "47"] && Int(header.last ?? "") ?? 0 > 20_000, "\(header)")
    }
    #expect(lab.marker.stop() == 0)
  }
}
