extension Frame {
  /// An extension header of a frame, as it stands there.
  public struct OptionHeader: Hashable, Sendable {
    /// 0 for hop-by-hop options, 60 for destination options.
    public let type: UInt8
    public let bytes: [UInt8]

    public init(type: UInt8, bytes: [UInt8]) {
      self.type = type
      self.bytes = bytes
    }
  }

  /// The hop-by-hop and destination options between the IPv6 header and whatever else comes first.
  public var optionHeaders: [OptionHeader] {
    guard isIPv6 else { return [] }
    var headers: [OptionHeader] = []
    var next = bytes[networkOffset + 6]
    var at = networkOffset + 40
    while next == 0 || next == 60, at + 8 <= bytes.count {
      let length = (Int(bytes[at + 1]) + 1) * 8
      guard at + length <= bytes.count else { break }
      headers.append(OptionHeader(type: next, bytes: Array(bytes[at..<at + length])))
      next = bytes[at]
      at += length
    }
    return headers
  }

  /// What follows the transport's ports and checksums; nil for other protocols than TCP and UDP.
  public var payload: ArraySlice<UInt8>? {
    switch transport {
    case 6 where transportOffset + 20 <= end:
      let start = transportOffset + Int(bytes[transportOffset + 12] >> 4) * 4
      return start <= end ? bytes[start..<end] : nil
    case 17 where transportOffset + 8 <= end: return bytes[transportOffset + 8..<end]
    default: return nil
    }
  }
}
