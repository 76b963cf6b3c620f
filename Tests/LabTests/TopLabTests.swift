import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import Marker

/// `marker top`, in a terminal and without one.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct TopLabTests {
  /// A terminal of tmux with a shell in it.
  private struct Screen {
    let lab: MonitoringLab
    private var tmux: String { "tmux -S \(lab.marker.folder)/tmux -f /dev/null" }

    init(_ lab: MonitoringLab) throws {
      self.lab = lab
      try lab.pair.near.shell(
        "env -u TMUX \(tmux) new-session -d -s lab -x 100 -y 12 'env PS1=ready: bash --norc --noprofile -i'")
      #expect(wait("ready:"))
    }

    func stop() { _ = try? shell("\(tmux) kill-server") }

    func press(_ keys: String) throws { try shell("\(tmux) send-keys -t lab \(keys)") }

    func start(_ options: String = "") throws {
      try press("-l '\(MarkerProcess.binary) top --interval 0.3 \(options) --api \(lab.marker.api)'")
      try press("Enter")
    }

    func resize(_ columns: Int, _ rows: Int) throws {
      try shell("\(tmux) resize-window -t lab -x \(columns) -y \(rows)")
    }

    func signal(_ name: String) throws {
      try shell("kill -\(name) $(pgrep -f '^[^ ]*marker top .*\(lab.marker.api)')")
    }

    var text: String { (try? shell("\(tmux) capture-pane -p -t lab")) ?? "" }
    /// Whether the other screen is shown, and the cursor.
    var state: String { (try? shell("\(tmux) display -p -t lab '#{alternate_on} #{cursor_flag}'")) ?? "" }

    func wait(_ text: String) -> Bool { wait { $0.contains(text) } }

    func wait(_ isThere: (String) -> Bool) -> Bool {
      for _ in 0..<300 {
        if isThere(self.text) { return true }
        usleep(100_000)
      }
      return false
    }

    /// That the terminal is as it was, told by the terminal's own settings.
    func expectRestored(_ status: String) throws {
      #expect(wait("ready:"), "\(text)")
      // The two settings that were changed, without a minus where they are on.
      let settings = "stty -a | tr \" ;\" \"\\n\\n\" | grep -xE -e \"-?(echo|icanon)\" | tr \"\\n\" \" \""
      try press("-l 'echo status=$?; \(settings); echo done'")
      try press("Enter")
      #expect(wait { $0.contains("status=\(status)\n") && $0.contains("\nicanon echo done\n") }, "\(text)")
      #expect(state == "0 1\n")
      try press("-l clear")
      try press("Enter")
      #expect(wait { !$0.contains("status=") })
    }
  }

  private func lab() throws -> (lab: MonitoringLab, flows: [Conversation]) {
    let lab = try MonitoringLab("--path tc")
    let flows = [
      try Conversation.tcp(lab.pair), try Conversation.udp(lab.pair),
      try Conversation.tcp(lab.pair, ipv4: true),
    ]
    for (flow, tag) in zip(flows, ["3 14", "2 17", "2 18"]) { try lab.tag(flow, "start", tag) }
    try flows[0].transfer(100_000)
    return (lab, flows)
  }

  @Test func keysAndSizes() throws {
    let (lab, flows) = try lab()
    let screen = try Screen(lab)
    defer { screen.stop() }
    try screen.start()
    #expect(
      screen.wait { $0.contains("3 of 3 flows  by rate") && $0.contains("cms/Analysis Input") },
      "\(screen.text)")
    #expect(
      screen.state == "1 0\n" && screen.text.contains(" us") || screen.text.contains(" ms"),
      "a round-trip time")
    try screen.press("b")
    #expect(screen.wait("by bytes"))
    let rows = screen.text.split(separator: "\n").dropFirst(3)
    #expect(
      rows.first?.contains("cms/Analysis Input") == true && rows.first?.contains("KiB") == true, "\(rows)")
    try screen.press("o")
    #expect(screen.wait("by bytes, least first"))
    try screen.press("/")
    try screen.press("-l 'atlas udp'")
    #expect(screen.wait("filter: atlas udp_"))
    try screen.press("Enter")
    #expect(screen.wait("1 of 1 flows, 3 in all"), "\(screen.text)")
    #expect(screen.text.contains(":\(flows[1].key.remote.port)"))
    try screen.press("/")
    try screen.press("-l ' nonsense'")
    try screen.press("Enter")
    #expect(screen.wait("\"nonsense\" is no experiment"))
    try screen.resize(60, 5)
    #expect(screen.wait { $0.split(separator: "\n").count <= 5 && $0.contains("AGE\n") }, "\(screen.text)")
    try screen.resize(140, 20)
    #expect(
      screen.wait { $0.contains("[\(flows[1].key.remote.address)]:\(flows[1].key.remote.port)") },
      "\(screen.text)")
    try screen.press("q")
    try screen.expectRestored("0")
    #expect(lab.marker.stop() == 0)
  }

  @Test func theTerminalComesBackHoweverItEnds() throws {
    let (lab, flows) = try lab()
    let screen = try Screen(lab)
    defer { screen.stop() }
    for (end, status) in [("C-c", "130"), ("TERM", "143"), ("HUP", "129")] {
      try screen.start()
      #expect(screen.wait("3 of 3 flows"), "\(screen.text)")
      if end == "C-c" { try screen.press("C-c") } else { try screen.signal(end) }
      try screen.expectRestored(status)
    }
    try screen.start()
    #expect(screen.wait("3 of 3 flows"))
    try screen.press("C-z")
    #expect(screen.wait("Stopped"), "\(screen.text)")
    try screen.expectRestored("148")
    try screen.press("-l fg")
    try screen.press("Enter")
    #expect(screen.wait("3 of 3 flows"), "\(screen.text)")
    // A daemon that ends is told of, and looked for again.
    #expect(lab.marker.stop() == 0)
    #expect(screen.wait("no answer, it is tried again"), "\(screen.text)")
    try screen.press("q")
    try screen.expectRestored("0")
    try screen.start()
    #expect(screen.wait("there is no such socket"), "\(screen.text)")
    try screen.expectRestored("1")
    withExtendedLifetime(flows) {}
  }

  @Test func plainText() throws {
    let (lab, flows) = try lab()
    let once = try lab.run("top --once --sort bytes", "| cat")
    let lines = once.text.split(separator: "\n")
    #expect(
      lines.count == 5 && lines[1].hasPrefix("TAG") && lines[2].hasPrefix("cms/Analysis Input"), "\(once)")
    #expect(!once.text.contains("\u{1b}"))
    let repeated = try lab.run("top --interval 0.2 --filter atlas", "| head -8")
    #expect(
      repeated.text.split(separator: "\n").filter { $0.hasPrefix("marker top") }.count == 2, "\(repeated)")
    let wrong = try lab.run("top --once --filter nonsense")
    #expect(wrong.status == "exit 1" && wrong.text.hasPrefix("\"nonsense\" is no experiment"), "\(wrong)")
    #expect(lab.marker.stop() == 0)
    withExtendedLifetime(flows) {}
  }
}
