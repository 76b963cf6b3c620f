public import Flow

/// Reads fireflies as all peers send them, in one pass and without allocating. What it does not know it passes over; what
/// it knows has to be right.
///
/// The JSON begins at the first `{`: a header, a relay's prefix or nothing may come before it. Where a key stands twice
/// the last counts. `version` and `afi` are not looked at: the one has one value, the other can only repeat what the
/// addresses say.
public struct FireflyDecoder: ~Copyable {
  /// Bytes; no UDP datagram is larger.
  public static let largestDatagram = 65_535
  /// How deep objects and arrays may stand in each other; a firefly needs two.
  public static let deepestNesting = 16

  private let applications: ApplicationCache
  /// A text whose escapes are resolved. Nothing that has a meaning here is longer; what is longer is cut, and so has
  /// none.
  private var scratch = ByteWriter(capacity: 256)

  /// - Parameter applications: where names are remembered.
  public init(applications: ApplicationNames) {
    self.applications = ApplicationCache(applications)
  }

  /// - Throws: `FireflyError`, for the first thing that is wrong.
  public mutating func decode(_ datagram: Span<UInt8>) throws(FireflyError) -> ReceivedFirefly {
    guard datagram.count <= Self.largestDatagram else {
      throw FireflyError(.tooLarge, at: Self.largestDatagram)
    }
    var start = 0
    while start < datagram.count, datagram[start] != UInt8(ascii: "{") { start += 1 }
    guard start < datagram.count else { throw FireflyError(.noJSON, at: start) }
    try Self.requireUTF8(datagram, from: start)
    var cursor = JSONCursor(at: start)
    var draft = FireflyDraft()
    try object(datagram, &cursor, .root, into: &draft, depth: 0)
    let end = cursor.offset
    // A newline or C's end of a string may follow.
    while cursor.offset < datagram.count {
      cursor.skipSpace(datagram)
      guard cursor.offset < datagram.count else { break }
      guard datagram[cursor.offset] == 0 else { throw FireflyError(.syntax(.endOfText), at: cursor.offset) }
      cursor.enter()
    }
    return try draft.firefly(start..<end)
  }

  private static func requireUTF8(_ datagram: Span<UInt8>, from start: Int) throws(FireflyError) {
    do {
      _ = try UTF8Span(validating: datagram.extracting(start...))
    } catch {
      throw FireflyError(.notUTF8, at: start + error.byteOffsets.lowerBound)
    }
  }

  /// Reads an object whose brace the cursor is at.
  private mutating func object(
    _ json: Span<UInt8>, _ cursor: inout JSONCursor, _ section: FireflySection,
    into draft: inout FireflyDraft,
    depth: Int
  ) throws(FireflyError) {
    cursor.enter()
    var isFirst = true
    while let key = try cursor.key(json, isFirst: isFirst) {
      isFirst = false
      guard let field = field(key, json, in: section) else {
        try cursor.skip(json, depth: depth + 1)
        continue
      }
      let start = cursor.offset
      let kind = try cursor.kind(json)
      if kind == .null {
        // As good as not there.
        try cursor.skip(json, depth: depth + 1)
      } else if let section = FireflySection(field) {
        guard kind == .object else { throw FireflyError(.value(field), at: start) }
        try object(json, &cursor, section, into: &draft, depth: depth + 1)
      } else if field.isNumber {
        guard kind == .number else { throw FireflyError(.value(field), at: start) }
        try draft.take(try cursor.number(json), for: field, at: start)
      } else {
        guard kind == .text else { throw FireflyError(.value(field), at: start) }
        try take(try cursor.text(json), json, for: field, at: start, into: &draft)
      }
    }
  }

  private mutating func take(
    _ text: JSONCursor.Text, _ json: Span<UInt8>, for field: FireflyError.Field, at offset: Int,
    into draft: inout FireflyDraft
  ) throws(FireflyError) {
    if field == .application {
      resolve(text, json)
      draft.application = applications.id(of: &scratch)
    } else if text.hasEscapes {
      resolve(text, json)
      try draft.take(scratch.bytes.span, for: field, at: offset)
    } else {
      try draft.take(json.extracting(text.range), for: field, at: offset)
    }
  }

  private mutating func field(
    _ key: JSONCursor.Text, _ json: Span<UInt8>, in section: FireflySection
  ) -> FireflyError.Field? {
    guard key.hasEscapes else { return section.field(json.extracting(key.range)) }
    resolve(key, json)
    return section.field(scratch.bytes.span)
  }

  private mutating func resolve(_ text: JSONCursor.Text, _ json: Span<UInt8>) {
    scratch.truncate(to: 0)
    scratch.append(unescaped: text, of: json)
  }
}

/// The objects of a firefly that have fields with a meaning.
enum FireflySection {
  case root, lifecycle, flow, context, usage

  init?(_ field: FireflyError.Field) {
    switch field {
    case .lifecycle: self = .lifecycle
    case .flow: self = .flow
    case .context: self = .context
    case .usage: self = .usage
    default: return nil
    }
  }

  func field(_ key: Span<UInt8>) -> FireflyError.Field? {
    switch self {
    case .root:
      if key.equals("flow-lifecycle") { return .lifecycle }
      if key.equals("flow-id") { return .flow }
      if key.equals("context") { return .context }
      if key.equals("usage") { return .usage }
    case .lifecycle:
      if key.equals("state") { return .state }
      if key.equals("start-time") { return .startTime }
      if key.equals("end-time") { return .endTime }
      if key.equals("current-time") { return .currentTime }
    case .flow:
      if key.equals("src-ip") { return .source }
      if key.equals("dst-ip") { return .destination }
      if key.equals("protocol") { return .transport }
      if key.equals("src-port") { return .sourcePort }
      if key.equals("dst-port") { return .destinationPort }
    case .context:
      if key.equals("experiment-id") { return .experiment }
      if key.equals("activity-id") { return .activity }
      if key.equals("application") { return .application }
    case .usage:
      if key.equals("sent") { return .sent }
      if key.equals("received") { return .received }
    }
    return nil
  }
}

extension FireflyError.Field {
  var isNumber: Bool {
    switch self {
    case .sourcePort, .destinationPort, .experiment, .activity, .sent, .received: true
    default: false
    }
  }
}
