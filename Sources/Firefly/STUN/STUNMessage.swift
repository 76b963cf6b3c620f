import Flow

/// What a STUN server answers to "from which address does this come?" (RFC 8489).
enum STUNMessage {
  /// RFC 8489 §5.
  static let headerSize = 20
  static let magicCookie: UInt32 = 0x2112_a442

  /// RFC 8489 §18.2 and §18.3, and RFC 3489 §11.2 for what old servers send.
  private enum Attribute {
    static let mappedAddress: UInt16 = 0x0001
    static let errorCode: UInt16 = 0x0009
    static let xorMappedAddress: UInt16 = 0x0020
    static let fingerprint: UInt16 = 0x8028
    /// Those that a client has to understand and that say nothing about the address: RFC 3489's, and those of
    /// authentication, which the answer to a request without has no use for.
    static let harmless: Set<UInt16> = [
      0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0007, 0x0008, 0x000a, 0x000b, 0x0014, 0x0015, 0x001c, 0x001d,
      0x001e,
    ]
  }

  /// The 96 bits that tell an answer from others. Nobody may guess them: they are all that keeps forgers away.
  struct TransactionID: Equatable, Sendable {
    let bytes: [UInt8]

    static func random() -> TransactionID {
      var generator = SystemRandomNumberGenerator()
      return TransactionID(bytes: (0..<12).map { _ in UInt8.random(in: 0...255, using: &generator) })
    }
  }

  /// A binding request without attributes.
  static func bindingRequest(_ id: TransactionID) -> [UInt8] {
    [0x00, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42] + id.bytes
  }

  /// Reads the answer to a binding request.
  ///
  /// - Returns: the address that the server saw; nil for a datagram that is not an answer to this request.
  /// - Throws: where it is one and tells no address.
  static func reflexiveAddress(in datagram: [UInt8], for id: TransactionID) throws(STUNError) -> Address? {
    guard datagram.count >= headerSize, word(datagram, 2) == datagram.count - headerSize,
      Array(datagram[4..<8]) == [0x21, 0x12, 0xa4, 0x42], Array(datagram[8..<20]) == id.bytes
    else { return nil }
    switch word(datagram, 0) {
    case 0x0101: break
    case 0x0111: throw refusal(in: datagram)
    default: return nil
    }
    var mapped: Address?
    var exclusive: Address?
    var unknown: UInt16?
    try forEachAttribute(of: datagram) { type, value throws(STUNError) in
      switch type {
      // Of an attribute that stands twice the first counts (RFC 8489 §14).
      case Attribute.xorMappedAddress: if exclusive == nil { exclusive = try address(value, id: id) }
      case Attribute.mappedAddress: if mapped == nil { mapped = try address(value, id: nil) }
      case Attribute.fingerprint:
        guard isFingerprint(value, of: datagram[..<(value.startIndex - 4)]) else { throw .fingerprint }
      case 0x0000..<0x8000 where !Attribute.harmless.contains(type): unknown = type
      default: break
      }
    }
    if let unknown { throw .unknownAttribute(unknown) }
    // An address in the clear may have been rewritten by a NAT that meant well.
    guard let address = exclusive ?? mapped else { throw .noAddress }
    return address
  }

  private static func forEachAttribute(
    of datagram: [UInt8], _ body: (UInt16, ArraySlice<UInt8>) throws(STUNError) -> Void
  ) throws(STUNError) {
    var offset = headerSize
    while offset < datagram.count {
      guard offset + 4 <= datagram.count else { throw .truncated }
      let start = offset + 4
      let end = start + word(datagram, offset + 2)
      guard end <= datagram.count else { throw .truncated }
      try body(UInt16(word(datagram, offset)), datagram[start..<end])
      // Padded to four bytes, RFC 8489 §14.
      offset = start + (end - start + 3) & ~3
    }
  }

  /// RFC 8489 §14.1 and §14.2.
  ///
  /// - Parameter id: nil for an address in the clear.
  private static func address(_ value: ArraySlice<UInt8>, id: TransactionID?) throws(STUNError) -> Address {
    let bytes = Array(value)
    guard bytes.count >= 4 else { throw .truncated }
    var address = Array(bytes[4...])
    guard address.count == (bytes[1] == 1 ? 4 : 16), bytes[1] == 1 || bytes[1] == 2 else { throw .truncated }
    if let id {
      let mask = [0x21, 0x12, 0xa4, 0x42] + id.bytes
      for place in address.indices { address[place] ^= mask[place] }
    }
    var (high, low): (UInt64, UInt64) = (0, 0)
    for byte in address { (high, low) = (high << 8 | low >> 56, low << 8 | UInt64(byte)) }
    return bytes[1] == 1 ? Address(ipv4: UInt32(truncatingIfNeeded: low)) : Address(high: high, low: low)
  }

  private static func refusal(in datagram: [UInt8]) -> STUNError {
    var refusal = STUNError.refused(code: 0, reason: "")
    do throws(STUNError) {
      try forEachAttribute(of: datagram) { type, value throws(STUNError) in
        guard type == Attribute.errorCode, value.count >= 4 else { return }
        // RFC 8489 §14.8: the hundreds in three bits, the rest in a byte, then UTF-8.
        let first = value.startIndex
        let code = Int(value[first + 2] & 7) * 100 + Int(value[first + 3])
        let reason = String(decoding: value[(first + 4)...], as: UTF8.self)
        refusal = .refused(code: code, reason: reason.filter { $0.isASCII && !$0.isNewline })
      }
    } catch {
      return error
    }
    return refusal
  }

  /// RFC 8489 §14.7: CRC-32 of all that stands before, with a constant against chance.
  private static func isFingerprint(_ value: ArraySlice<UInt8>, of message: ArraySlice<UInt8>) -> Bool {
    guard value.count == 4 else { return false }
    let given = value.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    return given == crc32(message) ^ 0x5354_554e
  }

  /// ISO 3309's, as in Ethernet.
  private static func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var sum = UInt32.max
    for byte in bytes {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : sum >> 1 ^ 0xedb8_8320 }
    }
    return ~sum
  }

  private static func word(_ bytes: [UInt8], _ at: Int) -> Int { Int(bytes[at]) << 8 | Int(bytes[at + 1]) }
}

/// Why a STUN server's answer tells no address.
enum STUNError: Error, Equatable {
  case truncated
  case fingerprint
  case noAddress
  /// One that a client has to understand (RFC 8489 §6.3.1).
  case unknownAttribute(UInt16)
  case refused(code: Int, reason: String)
}

extension STUNError: CustomStringConvertible {
  var description: String {
    switch self {
    case .truncated: "its answer is cut off or malformed"
    case .fingerprint: "its answer has a wrong FINGERPRINT"
    case .noAddress: "its answer has no address"
    case .unknownAttribute(let type): "its answer has an attribute that is not known, \(type)"
    case .refused(let code, let reason): "it refuses: \(code) \(reason)"
    }
  }
}
