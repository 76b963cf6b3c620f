extension Network {
  /// Networks whose addresses mean nothing outside of a host or a site (RFC 6890 §2.2, as far as a host may have such
  /// an address). Those for documentation are not among them: nobody has them but examples.
  static let privateUse = [
    // RFC 1918: private use.
    Network(first: Address(ipv4: 0x0a00_0000), bits: 96 + 8),
    Network(first: Address(ipv4: 0xac10_0000), bits: 96 + 12),
    Network(first: Address(ipv4: 0xc0a8_0000), bits: 96 + 16),
    // RFC 6598: between a provider and its NAT.
    Network(first: Address(ipv4: 0x6440_0000), bits: 96 + 10),
    // RFC 3927: link-local.
    Network(first: Address(ipv4: 0xa9fe_0000), bits: 96 + 16),
    // RFC 4193: unique local.
    Network(first: Address(high: 0xfc00 << 48, low: 0), bits: 7),
    // RFC 4291 §2.5.6 and RFC 3879: link-local, and site-local of old.
    Network(first: Address(high: 0xfe80 << 48, low: 0), bits: 9),
  ]
}

extension Address {
  /// Private, unique local, link-local or loopback: another site has no way to it.
  public var isPrivate: Bool { isLoopback || Network.privateUse.contains { $0.contains(self) } }
}
