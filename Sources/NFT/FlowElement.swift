internal import Flow

extension FlowKey {
  /// The map that holds flows of this family.
  var map: String { isIPv4 ? Ruleset.flows4 : Ruleset.flows6 }

  /// The flow as a key of its map: local and remote address, protocol, local and remote port; each in network
  /// order at a multiple of four bytes, as the rule loads them.
  var element: [UInt8] {
    var key: [UInt8] = []
    key.reserveCapacity(44)
    for address in [local.address, remote.address] {
      if let ipv4 = address.ipv4 {
        Self.put(ipv4, &key)
      } else {
        Self.put(address.high, &key)
        Self.put(address.low, &key)
      }
    }
    // A register that holds one byte has it first.
    key += [transport.rawValue, 0, 0, 0]
    for port in [local.port, remote.port] {
      Self.put(port, &key)
      Self.put(UInt16(0), &key)
    }
    return key
  }

  /// The flow that a key of a map stands for.
  init?(element key: UnsafeRawBufferPointer) {
    func word(_ at: Int) -> UInt32 {
      UInt32(bigEndian: key.loadUnaligned(fromByteOffset: at, as: UInt32.self))
    }
    func half(_ at: Int) -> UInt64 { UInt64(word(at)) << 32 | UInt64(word(at + 4)) }
    let local: Address
    let remote: Address
    switch key.count {
    case 20: (local, remote) = (Address(ipv4: word(0)), Address(ipv4: word(4)))
    case 44:
      local = Address(high: half(0), low: half(8))
      remote = Address(high: half(16), low: half(24))
    default: return nil
    }
    let rest = key.count - 12
    guard let transport = TransportProtocol(rawValue: key[rest]) else { return nil }
    self.init(
      local: Endpoint(local, UInt16(word(rest + 4) >> 16)),
      remote: Endpoint(remote, UInt16(word(rest + 8) >> 16)), transport: transport)
  }

  private static func put<T: FixedWidthInteger>(_ number: T, _ key: inout [UInt8]) {
    withUnsafeBytes(of: number.bigEndian) { key += $0 }
  }
}
