import Flow

/// Reads lines of the named pipe, as flowd-go and flowd write them:
/// `state protocol srcIP srcPort dstIP dstPort experiment activity`, separated by any white space, in any case.
/// Experiment and activity are numbers or names; a name with blanks stands in double quotes.
struct PipeLineParser {
  private let registry: Registry

  init(registry: Registry = .embedded) { self.registry = registry }

  /// - Returns: nil for a line with nothing but white space.
  func parse(_ line: Span<UInt8>) throws(PipeLineError) -> FlowEvent? {
    var fields = FieldCursor()
    guard let first = try fields.next(line) else { return nil }
    let state = try state(line, first)
    let transport = try transport(line, try fields.require(line, "a protocol: tcp, udp or sctp"))
    let source = Endpoint(
      try address(line, try fields.require(line, "the source's IP address"), "source"),
      try port(line, try fields.require(line, "the source's port, 1 to 65535"), "source"))
    let destination = Endpoint(
      try address(line, try fields.require(line, "the destination's IP address"), "destination"),
      try port(line, try fields.require(line, "the destination's port, 1 to 65535"), "destination"))
    let experimentField = try fields.require(line, "an experiment, by number or name")
    let activityField = try fields.require(line, "an activity, by number or name")
    if let extra = try fields.next(line) {
      throw PipeLineError(line, extra.lowerBound, "the end of the line: a flow has eight fields")
    }
    guard source.address.isIPv4 == destination.address.isIPv4 else {
      throw PipeLineError(line, 0, "both addresses of one family")
    }
    let tag = try tag(line, experimentField, activityField)
    return FlowEvent(
      state, AnnouncedFlow(source: source, destination: destination, transport: transport), tag, from: .pipe)
  }

  private func state(_ line: Span<UInt8>, _ field: Range<Int>) throws(PipeLineError) -> FlowEvent.State {
    if line.matches(field, "start") { return .start }
    if line.matches(field, "end") { return .end }
    if line.matches(field, "ongoing") { return .ongoing }
    throw PipeLineError(line, field.lowerBound, "start or end")
  }

  private func transport(_ line: Span<UInt8>, _ field: Range<Int>) throws(PipeLineError) -> TransportProtocol
  {
    if line.matches(field, "tcp") { return .tcp }
    if line.matches(field, "udp") { return .udp }
    if line.matches(field, "sctp") { return .sctp }
    throw PipeLineError(line, field.lowerBound, "a protocol: tcp, udp or sctp")
  }

  private func address(
    _ line: Span<UInt8>, _ field: Range<Int>, _ end: StaticString
  ) throws(PipeLineError) -> Address {
    guard let address = Address(text: line.extracting(field)) else {
      throw PipeLineError(line, field.lowerBound, "the \(end)'s IP address")
    }
    guard !address.isUnspecified else {
      throw PipeLineError(line, field.lowerBound, "the \(end)'s own address: a flow has two real ends")
    }
    return address
  }

  private func port(_ line: Span<UInt8>, _ field: Range<Int>, _ end: StaticString) throws(PipeLineError)
    -> UInt16
  {
    guard let number = line.decimal(field), (1...65535).contains(number) else {
      throw PipeLineError(line, field.lowerBound, "the \(end)'s port, 1 to 65535")
    }
    return UInt16(number)
  }

  private func tag(
    _ line: Span<UInt8>, _ experiment: Range<Int>, _ activity: Range<Int>
  ) throws(PipeLineError) -> SciTag {
    var field = experiment
    do throws(SciTagError) {
      let experimentNumber: Int
      if let number = line.decimal(experiment) {
        experimentNumber = number
      } else {
        experimentNumber = Int(try registry.experiment(line.text(experiment)))
      }
      guard SciTag.experiments.contains(experimentNumber) else {
        throw .experimentOutOfRange(experimentNumber)
      }
      field = activity
      if let number = line.decimal(activity) {
        return try SciTag(experiment: experimentNumber, activity: number)
      }
      let number = try registry.activity(line.text(activity), of: UInt16(experimentNumber))
      return try SciTag(experiment: experimentNumber, activity: Int(number))
    } catch {
      throw PipeLineError(line, field.lowerBound, reason: "\(error)")
    }
  }
}

/// A line that is not a flow: its text, where it went wrong and what would have been right there.
struct PipeLineError: Error, Equatable, CustomStringConvertible {
  /// The longest part of a line that is repeated in a message.
  static let excerpt = 200

  let text: String
  /// The first byte that was not understood, counted from 1.
  let column: Int
  let reason: String

  init(_ line: Span<UInt8>, _ offset: Int, _ expected: String) {
    self.init(line, offset, reason: "expected \(expected)")
  }

  init(_ line: Span<UInt8>, _ offset: Int, reason: String) {
    let length = min(line.count, Self.excerpt)
    text = line.text(0..<length).printable + (length < line.count ? "…" : "")
    column = offset + 1
    self.reason = reason
  }

  var description: String { "column \(column): \(reason), in \"\(text)\"" }
}

/// Walks the fields of a line.
private struct FieldCursor {
  private var offset = 0

  /// The next field without its quotes, nil at the end of the line.
  mutating func next(_ line: Span<UInt8>) throws(PipeLineError) -> Range<Int>? {
    while offset < line.count, isSpace(line[offset]) { offset += 1 }
    guard offset < line.count else { return nil }
    let quote = UInt8(ascii: "\"")
    if line[offset] == quote {
      let first = offset + 1
      offset = first
      while offset < line.count, line[offset] != quote { offset += 1 }
      guard offset < line.count else { throw PipeLineError(line, first - 1, "a closing quote") }
      defer { offset += 1 }
      return first..<offset
    }
    let first = offset
    while offset < line.count, !isSpace(line[offset]) { offset += 1 }
    return first..<offset
  }

  mutating func require(_ line: Span<UInt8>, _ expected: String) throws(PipeLineError) -> Range<Int> {
    guard let field = try next(line) else { throw PipeLineError(line, line.count, expected) }
    return field
  }

  /// Space, and tab to carriage return: C's isspace.
  private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
}

extension String {
  /// With control characters escaped: a line must not steer the terminal that shows the log.
  var printable: String {
    var text = ""
    for scalar in unicodeScalars {
      if scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) {
        text += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        text.unicodeScalars.append(scalar)
      }
    }
    return text
  }
}

extension Span where Element == UInt8 {
  /// Compares without regard to the case of ASCII letters.
  fileprivate func matches(_ range: Range<Int>, _ word: StaticString) -> Bool {
    guard range.count == word.utf8CodeUnitCount else { return false }
    for index in 0..<range.count where self[range.lowerBound + index] | 0x20 != word.utf8Start[index] {
      return false
    }
    return true
  }

  /// Nil for anything but one to nine digits.
  fileprivate func decimal(_ range: Range<Int>) -> Int? {
    guard (1...9).contains(range.count) else { return nil }
    var number = 0
    for index in range {
      let digit = self[index] &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      number = number * 10 + Int(digit)
    }
    return number
  }

  /// Bytes that are not UTF-8 are shown as U+FFFD.
  func text(_ range: Range<Int>) -> String {
    extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
  }
}
