internal import CTable
internal import Flow

extension marker_key {
  init(_ key: FlowKey) {
    self.init()
    withUnsafeMutableBytes(of: &local) { $0.store(key.local.address) }
    withUnsafeMutableBytes(of: &remote) { $0.store(key.remote.address) }
    local_port = key.local.port.bigEndian
    remote_port = key.remote.port.bigEndian
    transport = key.transport.rawValue
  }

  /// Nil for a transport that this program never writes.
  var flowKey: FlowKey? {
    guard let transport = TransportProtocol(rawValue: transport) else { return nil }
    return FlowKey(
      local: Endpoint(withUnsafeBytes(of: local) { $0.loadAddress() }, UInt16(bigEndian: local_port)),
      remote: Endpoint(withUnsafeBytes(of: remote) { $0.loadAddress() }, UInt16(bigEndian: remote_port)),
      transport: transport)
  }
}

extension marker_network {
  init(_ network: Network) {
    self.init()
    bits = UInt32(network.address.isIPv4 ? network.length + 96 : network.length)
    withUnsafeMutableBytes(of: &address) { $0.store(network.address) }
  }
}

extension marker_value {
  init(_ mark: Mark) {
    self.init()
    if let stamp = mark.label {
      flags |= UInt8(MARKER_STAMP_LABEL)
      label = stamp.label.value
      keep = stamp.entropy == .kernel ? FlowLabel.entropyMask : 0
    }
    if let stamp = mark.codePoint {
      flags |= UInt8(MARKER_STAMP_DSCP)
      if stamp.onlyIfUnset { flags |= UInt8(MARKER_ONLY_IF_UNSET) }
      dscp = stamp.codePoint.value
    }
    if let stamp = mark.headers {
      if stamp.headers.hasHopByHop { flags |= UInt8(MARKER_INSERT_HOP_BY_HOP) }
      if stamp.headers.hasDestination { flags |= UInt8(MARKER_INSERT_DESTINATION) }
      withUnsafeMutableBytes(of: &option) { $0.copyBytes(from: stamp.option.data) }
    }
  }

  var usage: Usage { Usage(packets: packets, bytes: bytes) }
}

extension UnsafeMutableRawBufferPointer {
  func store(_ address: Address) {
    storeBytes(of: address.high.bigEndian, as: UInt64.self)
    storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
  }
}

extension UnsafeRawBufferPointer {
  func loadAddress() -> Address {
    Address(
      high: UInt64(bigEndian: loadUnaligned(as: UInt64.self)),
      low: UInt64(bigEndian: loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
  }
}
