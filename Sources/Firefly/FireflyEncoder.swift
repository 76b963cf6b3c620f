public import Flow

/// Writes fireflies (scitags.org, firefly schema v1.0.0) into a buffer of its own, one at a time; allocates
/// nothing per firefly.
public struct FireflyEncoder: ~Copyable {
  /// The largest payload in bytes: what every IPv6 path carries, 1280 bytes (RFC 8200 §5), less 40 bytes of
  /// IPv6 header and 8 of UDP.
  public static let maximumSize = 1232

  private var writer = ByteWriter(capacity: FireflyEncoder.maximumSize)
  /// Where the JSON begins, behind the header.
  private let json: Int
  /// The bytes that all fireflies begin with, but for the timestamp.
  private let preamble: Int
  /// Where an enrichment is written first, to see whether it fits.
  private var scratch = ByteWriter(capacity: ByteWriter.enrichmentCapacity)
  /// The time that the header's timestamp shows.
  private var stamped: WallClockTime?

  /// - Parameters:
  ///   - host: This host's name for the header. It and `program` are brought into the form that RFC 5424
  ///     asks for: each character but printable ASCII becomes `_`, the length is cut to 255 and 48.
  ///   - program: The header's APP-NAME.
  public init(host: String, program: String = "marker") {
    SyslogHeader.append(host: host, application: program, to: &writer)
    json = writer.count
    writer.append(#"{"version":1,"flow-lifecycle":{"state":""#)
    preamble = writer.count
  }

  /// Encodes one firefly in place of the one before.
  ///
  /// - Parameters:
  ///   - announcement: What to tell. Where an end has no end time, `now` stands for it.
  ///   - form: The flow as it is to be named, where not as it is announced.
  ///   - application: Who runs the flow. Cut where the firefly would exceed `maximumSize`.
  ///   - transferred: Bytes moved so far, seen from the announced source, where more is known than
  ///     `announcement.usage`. A start never tells them.
  ///   - enrichment: what to tell of the connection, where the announcement has a report. A start never does.
  ///   - skOps: Where a flow that the socket watch found has that.
  ///   - now: The time of sending.
  /// - Throws: `Inexpressible`; the encoder then holds no firefly.
  public mutating func encode(
    _ announcement: Announcement, as form: AnnouncedFlow? = nil, application: String,
    transferred: Transferred? = nil, enrichment: Enrichment = .none, skOps: SkOps = .none,
    at now: WallClockTime
  ) throws(Inexpressible) {
    writer.truncate(to: preamble)
    let flow = form ?? announcement.flow
    try Self.check(flow)
    stamp(now)
    appendLifecycle(announcement, at: now)
    append(flow)
    if announcement.state != .start { append(transferred ?? announcement.transferred) }
    append(announcement.tag, application: application)
    if announcement.state != .start, let info = announcement.report?.info {
      let skOps = announcement.origin == .socketWatch ? skOps : .none
      let isFull = skOps != .instead && !append(enrichment, info, key: #","netlink":"#)
      if skOps != .none, !isFull { _ = append(enrichment, info, key: #","skOps":"#) }
    }
    writer.append(UInt8(ascii: "}"))
  }

  private static func check(_ flow: AnnouncedFlow) throws(Inexpressible) {
    guard flow.transport != .sctp else { throw .transport(flow.transport) }
    guard flow.source.port > 0, flow.destination.port > 0 else { throw .portZero }
    guard flow.source.address.isIPv4 == flow.destination.address.isIPv4 else { throw .mixedFamilies }
  }

  private mutating func stamp(_ now: WallClockTime) {
    guard stamped != now else { return }
    Timestamp.write(now, to: writer.start + SyslogHeader.timestampOffset)
    stamped = now
  }

  private mutating func appendLifecycle(_ announcement: Announcement, at now: WallClockTime) {
    switch announcement.state {
    case .start: writer.append(#"start","current-time":""#)
    case .ongoing: writer.append(#"ongoing","current-time":""#)
    case .end: writer.append(#"end","current-time":""#)
    }
    let timestamp = SyslogHeader.timestampOffset
    writer.append(copyOf: timestamp..<timestamp + Timestamp.size)
    writer.append(#"","start-time":""#)
    writer.append(announcement.start)
    if announcement.state == .end {
      writer.append(#"","end-time":""#)
      writer.append(announcement.end ?? now)
    }
  }

  private mutating func append(_ flow: AnnouncedFlow) {
    if flow.source.address.isIPv4 {
      writer.append(#""},"flow-id":{"afi":"ipv4","src-ip":""#)
    } else {
      writer.append(#""},"flow-id":{"afi":"ipv6","src-ip":""#)
    }
    append(flow.source.address)
    writer.append(#"","dst-ip":""#)
    append(flow.destination.address)
    if flow.transport == .tcp {
      writer.append(#"","protocol":"tcp","src-port":"#)
    } else {
      writer.append(#"","protocol":"udp","src-port":"#)
    }
    writer.append(decimal: UInt64(flow.source.port))
    writer.append(#","dst-port":"#)
    writer.append(decimal: UInt64(flow.destination.port))
    writer.append(UInt8(ascii: "}"))
  }

  private mutating func append(_ address: Address) {
    let text = address.text
    writer.append(text.bytes.span.extracting(0..<text.count))
  }

  private mutating func append(_ transferred: Transferred) {
    switch (transferred.received, transferred.sent) {
    case (nil, nil): return
    case (let received?, nil):
      writer.append(#","usage":{"received":"#)
      writer.append(decimal: received)
    case (nil, let sent?):
      writer.append(#","usage":{"sent":"#)
      writer.append(decimal: sent)
    case (let received?, let sent?):
      writer.append(#","usage":{"received":"#)
      writer.append(decimal: received)
      writer.append(#","sent":"#)
      writer.append(decimal: sent)
    }
    writer.append(UInt8(ascii: "}"))
  }

  private mutating func append(_ tag: SciTag, application: String) {
    writer.append(#","context":{"experiment-id":"#)
    writer.append(decimal: UInt64(tag.experiment))
    writer.append(#","activity-id":"#)
    writer.append(decimal: UInt64(tag.activity))
    writer.append(#","application":""#)
    let end: StaticString = #""}"#
    // The brace that closes the firefly needs room too.
    writer.append(jsonText: application, upTo: Self.maximumSize - end.utf8CodeUnitCount - 1)
    writer.append(end)
  }

  /// Appends the enrichment, in its short form where there is no room for the other, or nothing.
  ///
  /// - Returns: false where there was no room.
  private mutating func append(_ enrichment: Enrichment, _ info: TCPInfo, key: StaticString) -> Bool {
    guard enrichment != .none else { return true }
    for isShort in [false, true] {
      scratch.truncate(to: 0)
      scratch.append(enrichment, info, isShort: isShort)
      guard writer.count + key.utf8CodeUnitCount + scratch.count + 1 <= Self.maximumSize else { continue }
      writer.append(key)
      writer.extend(scratch.count).update(from: scratch.start, count: scratch.count)
      return true
    }
    return false
  }

  /// The bytes of the last firefly; none where there is none.
  public func withBytes<Result: ~Copyable, Failure>(
    as format: FireflyFormat, _ body: (Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeBufferPointer(rebasing: datagram[(format == .bare ? headerSize : 0)...]).span)
  }

  /// The last firefly with its header, whose first `headerSize` bytes `FireflyFormat.bare` leaves out. Valid
  /// until the encoder is next used.
  var datagram: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: writer.start, count: writer.count > preamble ? writer.count : 0)
  }

  var headerSize: Int { writer.count > preamble ? json : 0 }
}
