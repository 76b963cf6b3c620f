import Firefly
import Flow
import Glibc

/// A packet and its marks as a person reads them, and as JSON.
struct PacketText {
  let names: MarkNames

  /// One line, as `01:02:03.000004 out tcp [2001:db8::1]:34567 > [2001:db8::2]:1094, 72 bytes: label 0xb0138 cms/Cache`.
  func line(
    _ packet: MarkedPacket, _ marks: ReadMarks, _ captured: CapturedPacket, _ verdict: ExpectedMarks.Verdict
  ) -> String {
    let direction = captured.direction.map { "\($0.rawValue) " } ?? ""
    let ends = "\(Self.end(packet.source, packet)) > \(Self.end(packet.destination, packet))"
    return "\(Self.time(captured.time)) \(direction)\(Self.name(ofTransport: packet.transport)) \(ends), "
      + "\(packet.length) bytes: \(words(packet, marks, verdict))"
  }

  /// What its marks mean.
  func words(_ packet: MarkedPacket, _ marks: ReadMarks, _ verdict: ExpectedMarks.Verdict) -> String {
    var parts: [String] = []
    if let option = packet.hopByHop { parts.append("hop-by-hop option \(words(option))") }
    if let option = packet.destinationOption { parts.append("destination option \(words(option))") }
    if let label = packet.label { parts.append(words(label, marks, isRight: verdict.isRight)) }
    if packet.codePoint != 0 {
      parts.append(
        "dscp \(packet.codePoint)" + (marks.codePoint.map { " \(names.name(of: $0))" } ?? " of no tag"))
    } else if packet.label == nil {
      parts.append("dscp 0")
    }
    switch verdict {
    case .missing(let tag): parts.append("MISSING: the flow table says \(names.registry.name(of: tag))")
    case .unsure(let tag):
      parts.append(
        "the flow table says \(names.registry.name(of: tag)), which may be newer or older than the packet")
    case .unknown, .right: break
    }
    return parts.joined(separator: ", ")
  }

  private func words(_ label: FlowLabel, _ marks: ReadMarks, isRight: Bool) -> String {
    guard let tag = marks.label else { return "label 0" }
    let name = names.registry.name(of: tag)
    if isRight { return "label \(label) \(name)" }
    switch marks.labelStanding {
    case .registered: return "label \(label) \(name)"
    case .activityUnknown: return "label \(label) \(name)? (no such activity is registered)"
    case .experimentUnknown: return "label \(label) of no registered experiment (would be \(name))"
    }
  }

  private func words(_ option: CarriedOption) -> String {
    let readings = names.readings(of: option)
    guard let first = readings.first else {
      return "of type 0x\(String(option.type, radix: 16)) with \(option.length) bytes, 0x"
        + "\(String(option.number, radix: 16)), which is no SciTag"
    }
    let name = names.registry.name(of: first.tag)
    guard readings.count > 1 else {
      return name + (first.generation == .numbers ? "" : " (\(first.generation.words))")
    }
    let other = "\(names.registry.name(of: readings[1].tag)) \(readings[1].generation.words)"
    return "\(name) (\(first.generation.words), or \(other))"
  }

  /// One JSON object.
  func json(
    _ packet: MarkedPacket, _ marks: ReadMarks, _ captured: CapturedPacket, _ interface: String,
    _ verdict: ExpectedMarks.Verdict
  ) -> String {
    func end(_ end: Endpoint) -> String {
      JSONText.object([("address", JSONText.quoted("\(end.address)")), ("port", "\(end.port)")])
    }
    var fields = [
      ("time", JSONText.quoted(Timestamp.text(WallClockTime(microseconds: captured.time / 1000)))),
      ("interface", JSONText.quoted(interface)),
      ("direction", captured.direction.map { JSONText.quoted($0.rawValue) } ?? "null"),
      ("family", packet.isIPv6 ? "\"ipv6\"" : "\"ipv4\""),
      ("protocol", JSONText.quoted(Self.name(ofTransport: packet.transport))),
      ("source", end(packet.source)), ("destination", end(packet.destination)), ("bytes", "\(packet.length)"),
      ("dscp", "\(packet.codePoint)"), ("ecn", "\(packet.trafficClass & 3)"),
      ("label", packet.label.map { JSONText.quoted("\($0)") } ?? "null"),
      ("marks", JSONText.list(jsonMarks(packet, marks))), ("marked", "\(marks.isMarked || verdict.isRight)"),
    ]
    if let tag = verdict.tag {
      let word = verdict.isRight ? "right" : verdict.isMissing ? "missing" : "unsure"
      fields.append(("table", JSONText.object([("verdict", JSONText.quoted(word))] + jsonTag(tag))))
    }
    return JSONText.object(fields)
  }

  private func jsonMarks(_ packet: MarkedPacket, _ marks: ReadMarks) -> [String] {
    var all: [String] = []
    func add(_ by: String, _ tag: SciTag, _ more: [(String, String)] = []) {
      all.append(JSONText.object([("by", JSONText.quoted(by))] + jsonTag(tag) + more))
    }
    for (by, option) in [("hopByHop", packet.hopByHop), ("destination", packet.destinationOption)] {
      guard let option else { continue }
      for reading in names.readings(of: option) {
        add(by, reading.tag, [("form", JSONText.quoted(reading.generation.words))])
      }
      if names.readings(of: option).isEmpty {
        all.append(
          JSONText.object([("by", JSONText.quoted(by)), ("type", "\(option.type)"), ("invalid", "true")]))
      }
    }
    if let tag = marks.label {
      add("label", tag, [("registered", "\(marks.labelStanding == .registered)")])
    }
    if let meaning = marks.codePoint {
      all.append(
        JSONText.object([
          ("by", "\"dscp\""), ("experiment", meaning.experiment.map { "\($0)" } ?? "null"),
          ("activity", meaning.activity.map { "\($0)" } ?? "null"),
          ("name", JSONText.quoted(names.name(of: meaning))),
        ]))
    }
    return all
  }

  func jsonTag(_ tag: SciTag) -> [(String, String)] {
    [
      ("experiment", "\(tag.experiment)"), ("activity", "\(tag.activity)"),
      ("name", JSONText.quoted(names.registry.name(of: tag))),
    ]
  }

  static func name(ofTransport number: UInt8) -> String {
    if let transport = TransportProtocol(rawValue: number) { return transport.name }
    // IANA's numbers: RFC 792, RFC 4443.
    switch number {
    case 1: return "icmp"
    case 58: return "icmp6"
    default: return "protocol \(number)"
    }
  }

  private static func end(_ end: Endpoint, _ packet: MarkedPacket) -> String {
    end.port == 0 ? "\(end.address)" : "\(end)"
  }

  /// The time of day, by this host's clock and zone.
  private static func time(_ nanoseconds: Int64) -> String {
    var seconds = time_t(nanoseconds / 1_000_000_000)
    var parts = tm()
    guard nanoseconds > 0, localtime_r(&seconds, &parts) != nil else { return "--:--:--.------" }
    func padded(_ number: Int64, _ width: Int) -> String {
      let digits = "\(number)"
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int64($0), 2) }.joined(
      separator: ":")
    return "\(clock).\(padded(nanoseconds / 1000 % 1_000_000, 6))"
  }
}

extension CarriedOption {
  /// Every way to read it, the newest generation first.
  var readings: [(generation: TagOption.Generation, tag: SciTag)] {
    TagOption.Generation.allCases.compactMap { generation in tag(generation).map { (generation, $0) } }
  }
}

extension TagOption.Generation {
  var words: String {
    switch self {
    case .numbers: "as flowd-go 2.3 and later write it"
    case .label: "as flowd-go up to 2.2 wrote it"
    case .wideLabel: "as flowd-go of November 2024 wrote it"
    }
  }
}
