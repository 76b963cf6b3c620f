import Flow
import Testing

@testable import Firefly

/// The vectors of RFC 5769 §2, and what may go wrong with them.
struct STUNMessageTests {
  static let id = STUNMessage.TransactionID(bytes: [
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
  ])

  /// RFC 5769 §2.1.
  private let request: [UInt8] =
    [0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42] + id.bytes  // binding request
    + [0x80, 0x22, 0x00, 0x10] + Array("STUN test client".utf8)  // SOFTWARE
    + [0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff]  // PRIORITY
    + [0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36]  // ICE-CONTROLLED
    + [0x00, 0x06, 0x00, 0x09] + Array("evtj:h6vY   ".utf8)  // USERNAME, padded
    + [
      0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2,
      0xd3,
      0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2,  // MESSAGE-INTEGRITY
      0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,  // FINGERPRINT
    ]

  /// RFC 5769 §2.2: 192.0.2.1, port 32853.
  static let ipv4Response: [UInt8] =
    [0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42] + id.bytes  // binding response
    + [0x80, 0x22, 0x00, 0x0b] + Array("test vector ".utf8)  // SOFTWARE, padded
    + [0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]  // XOR-MAPPED-ADDRESS
    + [
      0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9, 0x2a,
      0xf9,
      0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7,  // MESSAGE-INTEGRITY
      0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96,  // FINGERPRINT
    ]

  /// RFC 5769 §2.3: 2001:db8:1234:5678:11:2233:4455:6677, port 32853.
  private let ipv6Response: [UInt8] =
    [0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42] + id.bytes
    + [0x80, 0x22, 0x00, 0x0b] + Array("test vector ".utf8)
    + [
      0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc,
      0x25,
      0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
      0x00, 0x08, 0x00, 0x14, 0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c, 0x82,
      0x92,
      0xc2, 0x75, 0xbf, 0xe3, 0xed, 0x41,
      0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c,
    ]

  /// A response of our own making, with attributes that are padded here.
  static func response(
    type: UInt16 = 0x0101, id: STUNMessage.TransactionID = id, _ attributes: [(UInt16, [UInt8])]
  ) -> [UInt8] {
    var body: [UInt8] = []
    for (type, value) in attributes {
      body += [UInt8(type >> 8), UInt8(type & 0xff), 0, UInt8(value.count)] + value
      while body.count % 4 != 0 { body.append(0) }
    }
    return [UInt8(type >> 8), UInt8(type & 0xff), 0, UInt8(body.count), 0x21, 0x12, 0xa4, 0x42] + id.bytes
      + body
  }

  private func read(_ datagram: [UInt8]) throws -> Address? {
    try STUNMessage.reflexiveAddress(in: datagram, for: Self.id)
  }

  @Test func theRequest() throws {
    #expect(
      STUNMessage.bindingRequest(Self.id)
        == [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42] + Self.id.bytes)
    #expect(try read(request) == nil, "not an answer")
    #expect(
      STUNMessage.TransactionID.random() != .random() && STUNMessage.TransactionID.random().bytes.count == 12)
  }

  @Test func theResponses() throws {
    #expect(try read(Self.ipv4Response) == Address("192.0.2.1"))
    #expect(try read(ipv6Response) == Address("2001:db8:1234:5678:11:2233:4455:6677"))
  }

  @Test func whatIsNoAnswerToThisRequest() throws {
    for place in [1, 4, 8, 19] {
      var other = Self.ipv4Response
      other[place] ^= 0x20
      #expect(try read(other) == nil, "byte \(place)")
    }
    for length in 0..<Self.ipv4Response.count {
      #expect(try read(Array(Self.ipv4Response[..<length])) == nil, "\(length) bytes")
    }
    #expect(try read(Self.ipv4Response + [0]) == nil)
  }

  @Test func aByteThatFlippedOnItsWay() {
    for place in 20..<(Self.ipv4Response.count - 8) {
      var other = Self.ipv4Response
      other[place] ^= 1
      #expect(throws: STUNError.self, "byte \(place)") { try read(other) }
    }
  }

  /// Whatever comes is read to an address, an error or nothing, and never beyond its end.
  @Test func noise() {
    let seed = UInt64.random(in: 1...UInt64.max)
    print("seed of the noise: \(seed)")
    var state = seed
    func next(_ bound: Int) -> Int {
      // Xorshift.
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(bound))
    }
    let samples = [Self.ipv4Response, ipv6Response, Self.response(type: 0x0111, [(0x0009, [0, 0, 4, 20])])]
    var outcomes: Set<String> = []
    for _ in 0..<20_000 {
      var datagram = samples[next(samples.count)]
      for _ in 0...next(3) { datagram[20 + next(datagram.count - 20)] = UInt8(next(256)) }
      if next(4) == 0 {
        datagram.removeLast(4 * next((datagram.count - 20) / 4))
        datagram[3] = UInt8(datagram.count - 20)
      }
      do { outcomes.insert(try read(datagram) == nil ? "nothing" : "address") } catch {
        outcomes.insert("error")
      }
    }
    #expect(outcomes.contains("error"))
  }

  @Test func serversOfOld() throws {
    // RFC 3489: MAPPED-ADDRESS, SOURCE-ADDRESS, CHANGED-ADDRESS, none of them masked.
    let address: [UInt8] = [0, 1, 0x80, 0x55, 198, 51, 100, 7]
    #expect(
      try read(Self.response([(0x0001, address), (0x0004, address), (0x0005, address)]))
        == Address("198.51.100.7"))
    // The masked one counts, in any order.
    let masked: [UInt8] = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]
    for attributes in [[(0x0001, address), (0x0020, masked)], [(0x0020, masked), (0x0001, address)]]
      as [[(UInt16, [UInt8])]]
    {
      #expect(try read(Self.response(attributes)) == Address("192.0.2.1"))
    }
  }

  @Test func answersWithoutAnAddress() {
    let cases: [([UInt8], STUNError)] = [
      (Self.response([]), .noAddress),
      (Self.response([(0x0020, [0, 1, 0, 0, 1, 2, 3])]), .truncated),
      (Self.response([(0x0020, [0, 3, 0, 0, 1, 2, 3, 4])]), .truncated),
      (Self.response([(0x0020, [0, 2, 0, 0, 1, 2, 3, 4])]), .truncated),
      (Self.response([(0x0020, [0, 1])]), .truncated),
      (Self.response([(0x7777, [])]), .unknownAttribute(0x7777)),
      (Self.response([(0x8028, [1, 2, 3, 4])]), .fingerprint),
      (
        Self.response(type: 0x0111, [(0x0009, [0, 0, 4, 20] + Array("Unknown\n".utf8))]),
        .refused(code: 420, reason: "Unknown")
      ),
      (Self.response(type: 0x0111, []), .refused(code: 0, reason: "")),
      ([0x01, 0x01, 0, 4, 0x21, 0x12, 0xa4, 0x42] + Self.id.bytes + [0, 0x20, 0, 8], .truncated),
    ]
    for (datagram, error) in cases { #expect(throws: error) { try read(datagram) } }
  }
}
