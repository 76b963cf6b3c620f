import ArgumentParser
import Flow
import Linux

/// Has every path mark real packets, and looks at them where they arrive.
struct SelfTest: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "selftest",
    abstract: "Mark real packets by every path, and prove the marks where the packets arrive.",
    discussion: """
      In two private network namespaces on this very kernel each path marks TCP connections and datagrams; a capture at the far \
      end looks at every packet of theirs, and at those of other flows, which must not be marked. Nothing of the host changes, \
      and nothing stays, however the test ends. `marker probe` shows more, of fewer packets; this proves.

      Exits with 0 where IPv6 labels and IPv4 DSCPs can be had for TCP and UDP by one path or another, 1 where not, 2 where \
      nothing could be tried, as without root.
      """)

  @Option(
    name: .customLong("path"),
    help: ArgumentHelp(
      "Only this one: tcx, clsact, nft, sock, raw or xdp. Repeat for several.", valueName: "path"))
  var ways: [String] = []

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    for way in ways where !SelfTestReport.ways.contains(way) {
      throw ValidationError("--path is \(SelfTestReport.ways.joined(separator: ", ")), not \(way)")
    }
  }

  func run() throws {
    let start = MonotonicTime.now()
    let report = SelfTestReport(Set(ways))
    let milliseconds = MonotonicTime.now().microseconds(since: start) / 1000
    print(json ? report.json(milliseconds) : report.text(milliseconds), terminator: json ? "\n" : "")
    if report.isUntried { throw ExitCode(2) }
    guard report.isSound else { throw ExitCode.failure }
  }
}

extension SelfTestReport {
  private typealias Column = (title: String, transport: TransportProtocol)
  private static let columns: [Column] = [("TCP", .tcp), ("UDP", .udp)]

  private static func mark(_ stamp: Stamp) -> String {
    switch stamp {
    case .label: "IPv6 flow label"
    case .ipv6CodePoint: "IPv6 DSCP"
    case .ipv4CodePoint: "IPv4 DSCP"
    case .hopByHop, .destination, .hopByHopDestination: stamp.rawValue
    }
  }

  func text(_ milliseconds: Int64) -> String {
    var rows = [["PATH", "MARK"] + Self.columns.map(\.title)]
    var reasons: [(what: String, why: String)] = []
    for way in Self.ways {
      for stamp in Stamp.rewriting {
        let row = trials.filter { $0.way == way && $0.stamp == stamp }
        guard !row.isEmpty else { continue }
        rows.append(
          [way, Self.mark(stamp)]
            + Self.columns.map { column in
              row.first { $0.transport == column.transport }.map { Self.cell($0.finding) } ?? ""
            })
        for trial in row where !trial.finding.isYes {
          let why = "\(trial.finding)"
          if reasons.last?.why == why, reasons.last?.what.hasPrefix(way) == true { continue }
          reasons.append(("\(way), \(Self.mark(stamp)), \(trial.transport.name.uppercased())", why))
        }
      }
    }
    var text = TextTable.text(rows)
    for reason in reasons { text += "\(reason.what): \(reason.why)\n" }
    text +=
      isSound
      ? "marks can be had: IPv6 flow labels and IPv4 DSCPs, for TCP and UDP"
      : "marks cannot be had for every flow: an IPv6 flow label and an IPv4 DSCP for TCP and UDP is what it takes"
    return text + " (\(milliseconds) ms)\n"
  }

  private static func cell(_ finding: Finding) -> String {
    switch finding.verdict {
    case .yes: "yes, \(finding.answer)"
    case .no: "NO"
    case .untried: "-"
    }
  }

  func json(_ milliseconds: Int64) -> String {
    let list = trials.map { trial in
      JSONText.object([
        ("path", JSONText.quoted(trial.way)), ("mark", JSONText.quoted(trial.stamp.rawValue)),
        ("family", trial.stamp.families == .ipv4 ? "\"ipv4\"" : "\"ipv6\""),
        ("protocol", JSONText.quoted(trial.transport.name)),
        ("verdict", JSONText.quoted(trial.finding.verdict.rawValue)),
        ("answer", JSONText.quoted(trial.finding.answer)), ("need", JSONText.quoted(trial.finding.need)),
      ])
    }
    return JSONText.object([
      ("sound", "\(isSound)"), ("milliseconds", "\(milliseconds)"), ("trials", JSONText.list(list)),
    ])
  }
}
