import Flow
import Testing

@Suite struct NetworkTests {
  @Test(arguments: [
    ("192.0.2.0/24", "192.0.2.255", true), ("192.0.2.0/24", "192.0.3.0", false),
    ("0.0.0.0/0", "255.255.255.255", true), ("0.0.0.0/0", "::1", false), ("::/0", "2001:db8::1", true),
    ("::/0", "192.0.2.1", false), ("2001:db8::/33", "2001:db8:7fff::1", true),
    ("2001:db8::/33", "2001:db8:8000::1", false), ("2001:db8::/64", "2001:db8::ffff:0:0:1", true),
    ("2001:db8::/65", "2001:db8::8000:0:0:1", false), ("::1", "::1", true), ("::1", "::2", false),
    ("127.0.0.0/8", "127.255.0.1", true), ("10.0.0.1", "10.0.0.1", true), ("10.0.0.1", "10.0.0.2", false),
  ])
  func contains(network: String, address: String, isIn: Bool) throws {
    let network = try Network(text: network)
    #expect(network.contains(try #require(Address(address))) == isIn)
    #expect(Network(network.description) == network)
  }

  @Test func mistakes() throws {
    let cases: [(String, String)] = [
      ("10.0.0.1/8", "did you mean 10.0.0.0/8?"), ("2001:db8::1/32", "did you mean 2001:db8::/32?"),
      ("10.0.0.0/33", "0 to 32"), ("::/129", "0 to 128"), ("::/-1", "0 to 128"), ("::/+1", "0 to 128"),
      ("::/", "0 to 128"), ("::/1/2", "0 to 128"), ("", "a network is"), ("example.org", "a network is"),
      ("/8", "a network is"), ("fe80::%eth0/10", "a network is"),
    ]
    for (text, says) in cases {
      let error = #expect(throws: NetworkError.self) { try Network(text: text) }
      #expect("\(try #require(error))".contains(says), "\(text)")
    }
  }

  @Test(arguments: [
    ("10.0.0.0", "9.255.255.255"), ("10.255.255.255", "11.0.0.0"), ("172.16.0.1", "172.15.0.1"),
    ("172.31.255.1", "172.32.0.1"), ("192.168.7.1", "192.169.7.1"), ("100.64.0.1", "100.63.255.255"),
    ("100.127.255.1", "100.128.0.1"), ("169.254.1.1", "169.253.1.1"), ("127.0.0.1", "128.0.0.1"),
    ("fc00::1", "fbff::1"), ("fdff::1", "fe00::1"), ("fe80::1", "fe7f::1"), ("fec0::1", "ff0e::1"),
    ("::1", "::2"),
    ("::ffff:10.0.0.1", "2001:db8::1"), ("10.1.2.3", "192.0.2.1"), ("10.1.2.3", "198.51.100.1"),
    ("10.1.2.3", "203.0.113.1"), ("10.1.2.3", "2a00::a00:1"),
  ])
  func privateAndPublic(inside: String, outside: String) throws {
    #expect(try #require(Address(inside)).isPrivate && !#require(Address(outside)).isPrivate)
  }

  @Test func loopback() throws {
    #expect(try #require(Address("127.8.9.1")).isLoopback && #require(Address("::1")).isLoopback)
    #expect(try !#require(Address("::2")).isLoopback && !#require(Address("128.0.0.1")).isLoopback)
  }
}
