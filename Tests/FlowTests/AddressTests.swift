import Flow
import Testing

@Suite struct AddressTests {
  /// Text as written, and as RFC 5952 wants it.
  @Test(arguments: [
    ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:db8::1", "2001:db8::1"),
    ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("fe80::1%eth0", "fe80::1"), ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::ffff:c000:201", "192.0.2.1"), ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:c000:201"), ("0.0.0.0", "0.0.0.0"),
    ("255.255.255.255", "255.255.255.255"),
  ])
  func reads(text: String, canonical: String) throws {
    #expect(try #require(Address(text)).description == canonical)
  }

  @Test(arguments: [
    "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "::g", "1:", ":1",
    "1:2:3:4:5:6:7:8::",
    "192.0.2", "192.0.2.1.1", "256.0.0.1", "192.0.2.01", "192.0.2.1%eth0", "::192.0.2", "192.0.2.1:80",
    "fe80::1%", "a.b.c.d",
    "1.2.3.4::", "::1.2.3.4:1", " ::1", "-1.0.0.0", "1:2:3:4:5:6:7:1.2.3.4",
  ])
  func refuses(text: String) { #expect(Address(text) == nil) }

  @Test func kinds() throws {
    #expect(try #require(Address("::ffff:1.2.3.4")).ipv4 == 0x0102_0304)
    #expect(try #require(Address("::1.2.3.4")).isIPv4 == false)
    #expect(try #require(Address("fe80::1")).isLinkLocal && !#require(Address("fec0::1")).isLinkLocal)
    #expect(try #require(Address("ff02::1")).isMulticast && #require(Address("239.1.1.1")).isMulticast)
    #expect(try #require(Address("0.0.0.0")).isUnspecified && Address.unspecified.isUnspecified)
  }

  @Test func randomAddressesComeBack() throws {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      // Masks make runs of zeroes likely.
      let address = Address(
        high: generator.next() & generator.next() & generator.next(),
        low: generator.next() & generator.next() & 0xffff_0000_ffff)
      #expect(Address(address.description) == address, "\(address.high) \(address.low)")
    }
  }
}
