import Flow
import Glibc
import Linux

/// What is done with packets: they are decoded, filtered, held against the flow table, printed, counted, written.
///
/// Decoding allocates nothing for a packet; printing and writing do.
struct Sniffer: ~Copyable {
  enum Output { case lines, json, summary, jsonSummary, nothing }

  let text: PacketText
  let filter: SniffFilter
  let output: Output
  var expected: ExpectedMarks?
  private var writer: PcapngWriter?
  private(set) var summary = SniffSummary()
  /// Packets that came; those that passed the filter; those that are no IP, or were cut short.
  private(set) var seen = 0
  private(set) var shown = 0
  private(set) var others = 0
  private(set) var missing = 0
  private var interfacesWritten = 0

  init(
    _ names: MarkNames, _ filter: SniffFilter, _ output: Output, _ expected: ExpectedMarks?,
    _ writer: consuming PcapngWriter?
  ) {
    text = PacketText(names: names)
    self.filter = filter
    self.output = output
    self.expected = expected
    self.writer = writer
  }

  mutating func take(_ captured: CapturedPacket, _ interfaces: [CaptureInterface]) throws(SystemError) {
    seen += 1
    let interface = interfaces[captured.interface]
    guard let link = LinkType(rawValue: interface.link), let packet = MarkedPacket(captured, link) else {
      others += 1
      return
    }
    let marks = ReadMarks(packet, text.names)
    let verdict = expected?.verdict(packet, at: captured.time) ?? .unknown
    guard filter.lets(packet, marks, verdict) else { return }
    shown += 1
    if verdict.isMissing { missing += 1 }
    summary.add(packet, marks, captured.direction, verdict)
    try save(captured, interfaces, packet, marks, verdict)
    switch output {
    case .lines: print(text.line(packet, marks, captured, verdict))
    case .json: print(text.json(packet, marks, captured, interface.name, verdict))
    case .summary, .jsonSummary, .nothing: break
    }
  }

  private mutating func save(
    _ captured: CapturedPacket, _ interfaces: [CaptureInterface], _ packet: MarkedPacket, _ marks: ReadMarks,
    _ verdict: ExpectedMarks.Verdict
  ) throws(SystemError) {
    guard writer != nil else { return }
    while interfacesWritten < interfaces.count {
      try writer?.add(interfaces[interfacesWritten])
      interfacesWritten += 1
    }
    try writer?.write(captured, comment: text.words(packet, marks, verdict))
  }

  /// Hands out what waits; called where there is nothing to read for the moment.
  mutating func settle() throws(SystemError) {
    expected?.tend()
    try writer?.flush()
    fflush(nil)
  }

  mutating func finish(received: UInt64, dropped: UInt64?) throws(SystemError) {
    if let dropped, interfacesWritten > 0 {
      let now = WallClockTime.now().microseconds * 1000
      try writer?.write(received: received, dropped: dropped, interface: 0, at: now)
    }
    try writer?.flush()
  }

  /// The last line, for standard error.
  func totals(dropped: UInt64?) -> String {
    func count(_ number: Int, _ what: String) -> String { "\(number) \(what)" }
    var parts = [count(seen, "packets"), count(shown, "of them shown")]
    if others > 0 { parts.append(count(others, "neither IPv4 nor IPv6, or cut short")) }
    if expected != nil { parts.append(count(missing, "without the mark that the flow table has for them")) }
    if let dropped { parts.append("\(dropped) dropped by the kernel") }
    return parts.joined(separator: ", ")
  }
}
