/// The RFC 5424 header of a firefly: `<134>1 TIMESTAMP HOST APP-NAME - firefly-json - `.
///
/// PROCID and STRUCTURED-DATA are NIL; MSGID `firefly-json` is how collectors recognise a firefly.
enum SyslogHeader {
  /// Where the timestamp stands.
  static let timestampOffset = 7

  /// The largest header, with HOST and APP-NAME at their limits.
  static let maximumSize = timestampOffset + Timestamp.size + 1 + hostLimit + 1 + applicationLimit + 18

  /// RFC 5424 §6: HOSTNAME and APP-NAME.
  static let hostLimit = 255
  static let applicationLimit = 48

  /// Appends the header; `Timestamp.size` bytes at `timestampOffset` are left for the time.
  static func append(host: String, application: String, to writer: inout ByteWriter) {
    // PRIVAL 134 is facility 16, local0, and severity 6, informational (RFC 5424 §6.2.1).
    writer.append("<134>1 ")
    writer.extend(Timestamp.size).update(repeating: UInt8(ascii: " "), count: Timestamp.size)
    writer.append(UInt8(ascii: " "))
    append(field: host, limit: hostLimit, to: &writer)
    writer.append(UInt8(ascii: " "))
    append(field: application, limit: applicationLimit, to: &writer)
    writer.append(" - firefly-json - ")
  }

  /// The longest header that is left as it came: RFC 5424 §6.2 with room for structured data.
  private static let longestReceived = 1024

  /// Whether collectors understand what stands before a firefly's JSON: `<PRI>1 `, a timestamp, be it NIL, and
  /// `firefly-json`, printable and on one line. flowd-go's header with an empty timestamp is not that, nor is what
  /// syslog daemons put into their files.
  static func isProper(_ header: Span<UInt8>) -> Bool {
    guard header.count <= longestReceived else { return false }
    var index = 0
    func isDigit(_ index: Int) -> Bool {
      index < header.count && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(header[index])
    }
    guard header.count > 0, header[0] == UInt8(ascii: "<") else { return false }
    index = 1
    while isDigit(index) { index += 1 }
    guard (2...4).contains(index), header.count > index + 3, header[index] == UInt8(ascii: ">"),
      header[index + 1] == UInt8(ascii: "1"), header[index + 2] == UInt8(ascii: " "),
      header[index + 3] == UInt8(ascii: "-") || isDigit(index + 3)
    else { return false }
    for place in header.indices where !(0x20...0x7e).contains(header[place]) { return false }
    let name: StaticString = "firefly-json"
    guard header.count >= name.utf8CodeUnitCount else { return false }
    for start in 0...header.count - name.utf8CodeUnitCount
    where header.extracting(start..<start + name.utf8CodeUnitCount).equals(name) {
      return true
    }
    return false
  }

  /// Appends a name as PRINTUSASCII (RFC 5424 §6): each other character becomes `_`, a longer name is cut,
  /// an empty one is NIL.
  private static func append(field: String, limit: Int, to writer: inout ByteWriter) {
    guard !field.isEmpty else {
      writer.append(UInt8(ascii: "-"))
      return
    }
    for scalar in field.unicodeScalars.prefix(limit) {
      let isPrintable = (33...126).contains(scalar.value)
      writer.append(isPrintable ? UInt8(truncatingIfNeeded: scalar.value) : UInt8(ascii: "_"))
    }
  }
}
