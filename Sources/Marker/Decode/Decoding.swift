import Firefly
import Flow

/// What a text can mean: every way to read it, or why it is none of them.
struct Decoding {
  enum Kind: String, CaseIterable { case label, scitag, dscp, firefly }

  /// One way to read it.
  struct Reading {
    let kind: Kind
    let text: String
    let fields: [(String, String)]

    var json: String { JSONText.object([("kind", JSONText.quoted(kind.rawValue))] + fields) }
  }

  struct Refusal: Error, CustomStringConvertible {
    let description: String
  }

  let names: MarkNames
  let map: CodePointMap
  /// Nil for all that it can be.
  var kind: Kind?

  /// - Throws: where it is nothing.
  func readings(_ text: String) throws(Refusal) -> [Reading] {
    let text = text.withoutOuterSpace
    var reasons: [String] = []
    var readings: [Reading] = []
    // Nothing else has a brace in it.
    let candidates = kind.map { [$0] } ?? (text.contains("{") ? [.firefly] : Kind.allCases)
    for candidate in candidates {
      do throws(Refusal) { readings.append(try reading(text, candidate)) } catch {
        reasons.append("  as \(candidate.rawValue): \(error)")
      }
    }
    guard readings.isEmpty else { return readings }
    let shown = text.count > 60 ? text.prefix(57) + "..." : text[...]
    throw Refusal(description: "\"\(shown)\" cannot be decoded\n\(reasons.joined(separator: "\n"))")
  }

  private func reading(_ text: String, _ kind: Kind) throws(Refusal) -> Reading {
    switch kind {
    case .label: try label(text)
    case .scitag: try tag(text)
    case .dscp: try codePoint(text)
    case .firefly: try firefly(Array(text.utf8))
    }
  }

  /// A number: decimal, hexadecimal with 0x, or as many binary digits as the thing has bits.
  private func number(_ text: String, bits: Int) -> Int? {
    let plain = text.filter { $0 != "_" && $0 != " " }
    if plain.count == bits, bits > 8, plain.allSatisfy({ $0 == "0" || $0 == "1" }) {
      return Int(plain, radix: 2)
    }
    guard let first = plain.first, first.isASCII, first.isNumber else { return nil }
    let digits = plain.lowercased()
    return digits.hasPrefix("0x") ? Int(digits.dropFirst(2), radix: 16) : Int(digits)
  }

  private func label(_ text: String) throws(Refusal) -> Reading {
    guard let number = number(text, bits: 20) else {
      throw Refusal(description: "a flow label is a number, such as 0x30038 or 196664, or 20 binary digits")
    }
    guard let label = FlowLabel(number) else {
      throw Refusal(description: "a flow label has 20 bits, 0 to 0xfffff")
    }
    let tag = label.sciTag
    let entropy = String(label.value & FlowLabel.entropyMask, radix: 16)
    let standing = names.standing(of: tag)
    let meaning: String
    switch standing {
    case .registered: meaning = names.registry.name(of: tag)
    case .activityUnknown: meaning = "\(names.registry.name(of: tag)), no such activity is registered"
    case .experimentUnknown:
      meaning =
        label.value == 0
        ? "no mark"
        : "would be \(tag), no such experiment is registered: perhaps the kernel's own label, which every IPv6 flow has"
    }
    return Reading(
      kind: .label,
      text:
        "flow label \(label): \(meaning) (experiment \(tag.experiment), activity \(tag.activity), entropy 0x\(entropy))",
      fields: [
        ("label", JSONText.quoted("\(label)")), ("experiment", "\(tag.experiment)"),
        ("activity", "\(tag.activity)"),
        ("name", JSONText.quoted(names.registry.name(of: tag))), ("registered", "\(standing == .registered)"),
        ("entropy", JSONText.quoted("0x\(entropy)")),
      ])
  }

  private func tag(_ text: String) throws(Refusal) -> Reading {
    let tag: SciTag
    if let number = number(text, bits: 16) {
      // 64 is what dCache sends for experiment 1, activity 0.
      guard (1...0xffff).contains(number) else {
        throw Refusal(description: "a SciTag is experiment << 6 | activity, 1 to 65535")
      }
      tag = SciTag(packed: UInt16(number))
    } else {
      guard let separator = text.firstIndex(where: { $0 == "/" || $0 == "." }) else {
        throw Refusal(
          description:
            "a SciTag is a number, 65 to 65535, or experiment/activity by number or name: 3/14, 3.14, cms/\"Analysis Input\""
        )
      }
      func part(_ text: Substring) -> String { text.filter { $0 != "\"" }.withoutOuterSpace }
      do throws(SciTagError) {
        tag = try names.registry.tag(
          experiment: part(text[..<separator]), activity: part(text[text.index(after: separator)...]))
      } catch {
        throw Refusal(description: "\(error)")
      }
    }
    let description = TagDescription(tag, names, map)
    return Reading(kind: .scitag, text: "SciTag: \(description.text)", fields: description.fields)
  }

  private func codePoint(_ text: String) throws(Refusal) -> Reading {
    guard let number = number(text, bits: 6), let codePoint = CodePoint(number) else {
      throw Refusal(description: "a DSCP is a number, 0 to 63")
    }
    let meaning = names.meaning(of: codePoint.value)
    let name = meaning.map(names.name) ?? (number == 0 ? "no mark" : "no tag has it by the map")
    return Reading(
      kind: .dscp, text: "DSCP \(number): \(name)",
      fields: [
        ("dscp", "\(number)"), ("experiment", meaning?.experiment.map { "\($0)" } ?? "null"),
        ("activity", meaning?.activity.map { "\($0)" } ?? "null"),
        ("name", meaning == nil ? "null" : JSONText.quoted(name)),
      ])
  }

  /// A datagram, with a syslog header or without.
  func firefly(_ datagram: [UInt8]) throws(Refusal) -> Reading {
    let applications = ApplicationNames(own: "")
    var decoder = FireflyDecoder(applications: applications)
    let firefly: ReceivedFirefly
    do throws(FireflyError) { firefly = try decoder.decode(datagram.span) } catch {
      throw Refusal(description: "\(error)")
    }
    let name = names.registry.name(of: firefly.tag)
    let application = applications.name(of: firefly.application)
    func time(_ time: WallClockTime?) -> String? { time.map(Timestamp.text) }
    var text = "firefly: \(firefly.state.word) of \(firefly.flow), \(name) (\(firefly.tag))"
    if !application.isEmpty { text += ", by \(application)" }
    if let start = time(firefly.start) { text += ", started \(start)" }
    if let end = time(firefly.end) { text += ", ended \(end)" }
    let transferred = firefly.transferred
    if let sent = transferred.sent { text += ", sent \(sent) bytes" }
    if let received = transferred.received { text += ", received \(received) bytes" }
    if !firefly.namesOneFlow { text += "; telemetry only, it names no single flow" }
    if FlowLabel(firefly.tag) == nil { text += "; no flow label holds its tag" }
    func end(_ end: Endpoint) -> String {
      JSONText.object([("address", JSONText.quoted("\(end.address)")), ("port", "\(end.port)")])
    }
    return Reading(
      kind: .firefly, text: text,
      fields: [
        ("state", JSONText.quoted(firefly.state.word)),
        ("protocol", JSONText.quoted(firefly.flow.transport.name)), ("source", end(firefly.flow.source)),
        ("destination", end(firefly.flow.destination)), ("experiment", "\(firefly.tag.experiment)"),
        ("activity", "\(firefly.tag.activity)"), ("name", JSONText.quoted(name)),
        ("application", JSONText.quoted(application)),
        ("start", time(firefly.start).map(JSONText.quoted) ?? "null"),
        ("end", time(firefly.end).map(JSONText.quoted) ?? "null"),
        ("sent", transferred.sent.map { "\($0)" } ?? "null"),
        ("received", transferred.received.map { "\($0)" } ?? "null"),
      ])
  }
}

extension FlowEvent.State {
  var word: String {
    switch self {
    case .start: "start"
    case .ongoing: "ongoing"
    case .end: "end"
    }
  }
}

extension StringProtocol {
  /// Without white space before and behind it.
  var withoutOuterSpace: String {
    var text = drop { $0.isWhitespace }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
