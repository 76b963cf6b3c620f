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
