import Firefly
import Flow
import Linux
import NIOHTTP1

/// What packets should carry by a running daemon's table, which is asked again and again.
///
/// A table and a wire are never seen at the same instant. So a mark is called missing only on a packet that lies between
/// two readings of the table that both had the flow with that mark.
struct ExpectedMarks {
  /// A mark by the table, as the API tells it.
  struct Expected: Equatable {
    var tag: SciTag
    var label: FlowLabel?
    var keepsEntropy = false
    var codePoint: UInt8?
    var headers: ExtensionHeaders?

    var isMarked: Bool { label != nil || codePoint != nil || headers != nil }
  }

  enum Verdict: Equatable {
    /// The table has no such flow, or marks none of its packets.
    case unknown
    case right(SciTag)
    case missing(SciTag)
    /// Not marked, but it may have been sent before the flow was entered or after it ended.
    case unsure(SciTag)

    var isMissing: Bool { if case .missing = self { true } else { false } }
    var isRight: Bool { if case .right = self { true } else { false } }

    /// What the table says that it is.
    var tag: SciTag? {
      switch self {
      case .unknown: nil
      case .right(let tag), .missing(let tag), .unsure(let tag): tag
      }
    }
  }

  private struct Entry {
    let expected: Expected
    /// When it was first read with this mark, nanoseconds since 1970.
    let since: Int64
  }

  private let client: APIClient
  private var entries: [FlowKey: Entry] = [:]
  /// When the last reading began, nanoseconds since 1970.
  private var readAt: Int64 = 0
  private var nextReading: MonotonicTime
  /// What went wrong at the last reading; nil where nothing did.
  private(set) var problem: String?
  private(set) var count = 0

  /// Milliseconds between readings, and at least so many where a packet asks for one.
  private static let interval: Int64 = 1000
  private static let pause: Int64 = 100
  /// A reading that takes long is followed by so many times as long without one.
  private static let rest: Int64 = 20
  /// The most flows that the daemon gives at once.
  private static let pageLimit = 10_000
  private var earliest: MonotonicTime

  /// - Throws: where the daemon does not answer.
  init(_ client: APIClient) throws {
    self.client = client
    (nextReading, earliest) = (.now(), .now())
    try read()
  }

  /// Reads the table again when it is time. The daemon may be gone for a while.
  mutating func tend() {
    guard nextReading < .now() else { return }
    refresh()
  }

  private mutating func refresh() {
    do {
      try read()
      problem = nil
    } catch {
      // What was known is of no use without a second reading.
      problem = "\(error)"
      (entries, count) = ([:], 0)
      nextReading = MonotonicTime.now().advanced(milliseconds: Self.interval)
      earliest = nextReading
    }
  }

  /// Whether a packet has what the table says. Asks the daemon where that is what decides.
  mutating func verdict(_ packet: MarkedPacket, at time: Int64) -> Verdict {
    guard let transport = TransportProtocol(rawValue: packet.transport), packet.source.port > 0,
      !packet.isFragment
    else { return .unknown }
    let key = FlowKey(local: packet.source, remote: packet.destination, transport: transport)
    guard let entry = entries[key], entry.expected.isMarked else { return .unknown }
    if entry.expected.isIn(packet) { return .right(entry.expected.tag) }
    if time > readAt, earliest < .now() { refresh() }
    guard let now = entries[key], now.expected == entry.expected, now.since < time, time < readAt else {
      return .unsure(entry.expected.tag)
    }
    return .missing(entry.expected.tag)
  }

  private mutating func read() throws {
    let start = MonotonicTime.now()
    let began = WallClockTime.now().microseconds * 1000
    var found: [(FlowKey, Expected)] = []
    var from = 0
    while true {
      let answer = try client.ask(.GET, "/v1/flows?limit=\(Self.pageLimit)&from=\(from)")
      guard answer.status == 200 else { throw ExpectedMarksError(reason: "\(answer.status) \(answer.body)") }
      let page = try ExpectedFlows(answer.body)
      found += page.flows
      guard let next = page.next else { break }
      from = next
    }
    let ended = WallClockTime.now().microseconds * 1000
    var next: [FlowKey: Entry] = [:]
    next.reserveCapacity(found.count)
    for (key, expected) in found {
      let before = entries[key]
      next[key] = before?.expected == expected ? before : Entry(expected: expected, since: ended)
    }
    (entries, readAt, count) = (next, began, next.count)
    let took = MonotonicTime.now().microseconds(since: start) / 1000
    nextReading = MonotonicTime.now().advanced(milliseconds: max(Self.interval, took * Self.rest))
    earliest = MonotonicTime.now().advanced(milliseconds: max(Self.pause, took * Self.rest))
  }
}

extension ExpectedMarks.Expected {
  /// Whether a packet carries it. A code point that somebody else set is left alone by default, and so is no fault.
  func isIn(_ packet: MarkedPacket) -> Bool {
    if let label, packet.isIPv6, let seen = packet.label {
      let differing = (label.value ^ seen.value) & (keepsEntropy ? ~FlowLabel.entropyMask : FlowLabel.mask)
      return differing & FlowLabel.mask == 0
    }
    if let headers, packet.isIPv6 {
      return (!headers.hasHopByHop || packet.hopByHop?.tag(.numbers) == tag)
        && (!headers.hasDestination || packet.destinationOption?.tag(.numbers) == tag)
    }
    if let codePoint { return packet.codePoint == codePoint || packet.codePoint != 0 }
    return false
  }
}

struct ExpectedMarksError: Error, CustomStringConvertible {
  let reason: String
  var description: String { "the daemon does not tell its flows: \(reason)" }
}

/// A page of the daemon's flows, as far as it matters here.
struct ExpectedFlows {
  private(set) var flows: [(FlowKey, ExpectedMarks.Expected)] = []
  private(set) var next: Int?

  init(_ body: String) throws(JSONProblem) {
    var page: ([(FlowKey, ExpectedMarks.Expected)], Int?) = ([], nil)
    let problem = Array(body.utf8).withUnsafeBytes { bytes -> JSONProblem? in
      var reader = JSONReader(bytes)
      do throws(JSONProblem) {
        try reader.object { reader, key throws(JSONProblem) in
          switch key {
          case "flows":
            try reader.array { reader throws(JSONProblem) in
              if let flow = try Self.flow(&reader) { page.0.append(flow) }
            }
          case "next" where try reader.kind() == .number: page.1 = try reader.integer()
          default: try reader.skip()
          }
        }
      } catch { return error }
      return nil
    }
    if let problem { throw problem }
    (flows, next) = page
  }

  /// Nil for one that is not marked.
  private static func flow(
    _ reader: inout JSONReader
  ) throws(JSONProblem) -> (FlowKey, ExpectedMarks.Expected)? {
    var (identity, isInbound, experiment, activity) = ("", false, 0, 0)
    var mark = ExpectedMarks.Expected(tag: SciTag(packed: 0))
    try reader.object { reader, key throws(JSONProblem) in
      switch key {
      case "id": identity = try reader.string()
      case "local": isInbound = try reader.string() == "destination"
      case "experiment": experiment = try reader.integer()
      case "activity": activity = try reader.integer()
      case "mark" where try reader.kind() == .object: try read(&reader, into: &mark)
      default: try reader.skip()
      }
    }
    guard mark.isMarked, let announced = FlowIdentity.flow(identity[...]),
      let tag = try? SciTag(experiment: experiment, activity: activity)
    else { return nil }
    mark.tag = tag
    let (local, remote) =
      isInbound ? (announced.destination, announced.source) : (announced.source, announced.destination)
    return (FlowKey(local: local, remote: remote, transport: announced.transport), mark)
  }

  private static func read(
    _ reader: inout JSONReader, into mark: inout ExpectedMarks.Expected
  ) throws(JSONProblem) {
    try reader.object { reader, key throws(JSONProblem) in
      switch key {
      case "label":
        let text = try reader.string()
        mark.label = Int(text.dropFirst(2), radix: 16).flatMap { FlowLabel($0) }
      case "entropy": mark.keepsEntropy = try reader.string() == LabelEntropy.kernel.rawValue
      case "dscp": mark.codePoint = UInt8(clamping: try reader.integer())
      case "headers": mark.headers = ExtensionHeaders(rawValue: try reader.string())
      default: try reader.skip()
      }
    }
  }
}
