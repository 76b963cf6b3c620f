import Flow

/// A firefly as far as it was read.
struct FireflyDraft {
  var application = ApplicationNames.ID.marker
  private var state: FlowEvent.State?
  private var start: WallClockTime?
  private var end: WallClockTime?
  private var source: Address?
  private var destination: Address?
  private var transport: TransportProtocol?
  private var sourcePort: UInt16?
  private var destinationPort: UInt16?
  private var experiment: Int?
  private var activity: Int?
  private var transferred = Transferred()
  /// Where the numbers of the tag and the addresses stand, for what can only be judged together.
  private var experimentOffset = 0
  private var activityOffset = 0
  private var addressOffset = 0

  init() {}

  mutating func take(
    _ number: JSONNumber, for field: FireflyError.Field, at offset: Int
  ) throws(FireflyError) {
    switch field {
    case .sourcePort: sourcePort = try port(number, field, offset)
    case .destinationPort: destinationPort = try port(number, field, offset)
    case .experiment:
      experiment = try id(number, field, offset)
      experimentOffset = offset
    case .activity:
      activity = try id(number, field, offset)
      activityOffset = offset
    case .sent: transferred.sent = number.whole
    case .received: transferred.received = number.whole
    default: break
    }
  }

  private func port(
    _ number: JSONNumber, _ field: FireflyError.Field, _ offset: Int
  ) throws(FireflyError) -> UInt16 {
    guard let port = number.integer.flatMap({ UInt16(exactly: $0) }) else {
      throw FireflyError(.value(field), at: offset)
    }
    return port
  }

  private func id(
    _ number: JSONNumber, _ field: FireflyError.Field, _ offset: Int
  ) throws(FireflyError) -> Int {
    guard let id = number.integer else { throw FireflyError(.value(field), at: offset) }
    return Int(clamping: id)
  }

  mutating func take(
    _ text: Span<UInt8>, for field: FireflyError.Field, at offset: Int
  ) throws(FireflyError) {
    switch field {
    case .state: state = try state(text, offset)
    case .transport: transport = try transport(text, offset)
    case .startTime: start = try time(text, field, offset)
    case .endTime: end = try time(text, field, offset)
    case .currentTime: _ = try time(text, field, offset)
    case .source:
      source = try address(text, field, offset)
      addressOffset = offset
    case .destination:
      destination = try address(text, field, offset)
      addressOffset = offset
    default: break
    }
  }

  private func state(_ text: Span<UInt8>, _ offset: Int) throws(FireflyError) -> FlowEvent.State {
    if text.equalsIgnoringCase("start") { return .start }
    if text.equalsIgnoringCase("end") { return .end }
    if text.equalsIgnoringCase("ongoing") { return .ongoing }
    throw FireflyError(.value(.state), at: offset)
  }

  private func transport(_ text: Span<UInt8>, _ offset: Int) throws(FireflyError) -> TransportProtocol {
    if text.equalsIgnoringCase("tcp") { return .tcp }
    if text.equalsIgnoringCase("udp") { return .udp }
    if text.equalsIgnoringCase("sctp") { return .sctp }
    throw FireflyError(.value(.transport), at: offset)
  }

  private func address(
    _ text: Span<UInt8>, _ field: FireflyError.Field, _ offset: Int
  ) throws(FireflyError) -> Address {
    guard let address = Address(text: text) else { throw FireflyError(.value(field), at: offset) }
    return address
  }

  /// An empty time is as good as none, and so is the year 1, which Go prints for a time that was never set.
  private func time(
    _ text: Span<UInt8>, _ field: FireflyError.Field, _ offset: Int
  ) throws(FireflyError) -> WallClockTime? {
    if text.isEmpty { return nil }
    guard let time = Timestamp.read(text) else { throw FireflyError(.value(field), at: offset) }
    return time.microseconds < Self.year2 ? nil : time
  }

  /// 0002-01-01T00:00:00Z.
  private static let year2: Int64 = -62_104_060_800_000_000

  func firefly(_ json: Range<Int>) throws(FireflyError) -> ReceivedFirefly {
    let end = json.upperBound
    let state = try require(state, .state, end)
    let source = try require(source, .source, end)
    let destination = try require(destination, .destination, end)
    let transport = try require(transport, .transport, end)
    let sourcePort = try require(sourcePort, .sourcePort, end)
    let destinationPort = try require(destinationPort, .destinationPort, end)
    let experiment = try require(experiment, .experiment, end)
    let activity = try require(activity, .activity, end)
    guard source.isIPv4 == destination.isIPv4 else { throw FireflyError(.mixedFamilies, at: addressOffset) }
    let tag: SciTag
    do throws(SciTagError) {
      tag = try SciTag(experiment: experiment, activity: activity)
    } catch {
      var offset = experimentOffset
      if case .activityOutOfRange = error { offset = activityOffset }
      throw FireflyError(.tag(error), at: offset)
    }
    return ReceivedFirefly(
      state: state,
      flow: AnnouncedFlow(
        source: Endpoint(source, sourcePort), destination: Endpoint(destination, destinationPort),
        transport: transport),
      tag: tag, application: application, start: start, end: state == .end ? self.end : nil,
      transferred: transferred, json: json)
  }

  private func require<Value>(
    _ value: Value?, _ field: FireflyError.Field, _ offset: Int
  ) throws(FireflyError) -> Value {
    guard let value else { throw FireflyError(.missing(field), at: offset) }
    return value
  }
}

extension Span where Element == UInt8 {
  func equals(_ word: StaticString) -> Bool {
    guard count == word.utf8CodeUnitCount else { return false }
    for index in 0..<count where self[index] != word.utf8Start[index] { return false }
    return true
  }

  /// - Parameter word: in lower case letters.
  func equalsIgnoringCase(_ word: StaticString) -> Bool {
    guard count == word.utf8CodeUnitCount else { return false }
    for index in 0..<count where self[index] | 0x20 != word.utf8Start[index] { return false }
    return true
  }
}
