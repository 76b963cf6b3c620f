internal import Flow
internal import Glibc

/// A flow's key as packets carry it: both addresses in network order, IPv4 mapped, then the ports with the transport
/// above them. Equal bytes are equal words, so nothing is swapped for a packet.
struct FlowWords {
  var local0, local1, remote0, remote1: UInt64
  /// The local port, the remote one, the transport: 16, 16 and 8 bits from the lowest on, the ports in network order.
  var ends: UInt64

  @inline(__always)
  init(_ local0: UInt64, _ local1: UInt64, _ remote0: UInt64, _ remote1: UInt64, ends: UInt64) {
    self.local0 = local0
    self.local1 = local1
    self.remote0 = remote0
    self.remote1 = remote1
    self.ends = ends
  }

  /// - Parameter ports: the word of both as the packet has it.
  @inline(__always)
  static func ends(ports: UInt32, transport: UInt8) -> UInt64 {
    UInt64(UInt32(littleEndian: ports)) | UInt64(transport) << 32
  }

  /// The second word of an IPv4 address in its mapped form.
  @inline(__always)
  static func mapped(_ address: UInt32) -> UInt64 {
    (0xffff_0000_0000 | UInt64(UInt32(bigEndian: address))).bigEndian
  }

  init(_ key: FlowKey) {
    let ports = UInt32(key.local.port.bigEndian) | UInt32(key.remote.port.bigEndian) << 16
    self.init(
      key.local.address.high.bigEndian, key.local.address.low.bigEndian, key.remote.address.high.bigEndian,
      key.remote.address.low.bigEndian, ends: UInt64(ports) | UInt64(key.transport.rawValue) << 32)
  }

  /// Nil for a transport that no flow has.
  var flowKey: FlowKey? {
    guard let transport = TransportProtocol(rawValue: UInt8(truncatingIfNeeded: ends >> 32)) else {
      return nil
    }
    return FlowKey(
      local: Endpoint(
        Address(high: UInt64(bigEndian: local0), low: UInt64(bigEndian: local1)),
        UInt16(bigEndian: UInt16(truncatingIfNeeded: ends))),
      remote: Endpoint(
        Address(high: UInt64(bigEndian: remote0), low: UInt64(bigEndian: remote1)),
        UInt16(bigEndian: UInt16(truncatingIfNeeded: ends >> 16))), transport: transport)
  }
}

/// What is to be stamped on a flow's packets, in one word. 0 is nothing at all, and no mark is 0.
struct StampWord: Equatable {
  let bits: UInt64

  private static let present: UInt64 = 1 << 63
  private static let label: UInt64 = 1 << 62
  private static let codePoint: UInt64 = 1 << 61
  private static let onlyIfUnset: UInt64 = 1 << 60

  @inline(__always)
  init(bits: UInt64) { self.bits = bits }

  /// Nil where the mark wants what is not written over what a packet has.
  init?(_ mark: Mark) {
    guard mark.headers == nil else { return nil }
    var bits = Self.present
    if let stamp = mark.label {
      bits |= Self.label | UInt64(stamp.label.value)
      if stamp.entropy == .kernel { bits |= UInt64(FlowLabel.entropyMask) << 20 }
    }
    if let stamp = mark.codePoint {
      bits |= Self.codePoint | UInt64(stamp.codePoint.value) << 40
      if stamp.onlyIfUnset { bits |= Self.onlyIfUnset }
    }
    self.bits = bits
  }

  /// The new first word of an IPv6 header, in host order (RFC 8200 §3: version 4 bits, traffic class 8, label 20).
  ///
  /// - Parameter entropy: for a packet without a label, where many flows share this stamp; nil where it is one flow's.
  @inline(__always)
  func apply(ipv6 word: UInt32, entropy: UInt32?) -> UInt32 {
    var new = word & 0xf00f_ffff | UInt32(trafficClass(UInt8(truncatingIfNeeded: word >> 20))) << 20
    guard bits & Self.label != 0 else { return new }
    let ours = UInt32(truncatingIfNeeded: bits) & 0xf_ffff
    let keep = UInt32(truncatingIfNeeded: bits >> 20) & 0xf_ffff
    let label = word & 0xf_ffff
    let free = label != 0 ? label : entropy ?? ours
    new = new & 0xfff0_0000 | ours & ~keep | free & keep
    return new
  }

  /// The new TOS or traffic class; ECN, its two low bits, stays.
  @inline(__always)
  func trafficClass(_ old: UInt8) -> UInt8 {
    guard bits & Self.codePoint != 0, bits & Self.onlyIfUnset == 0 || old >> 2 == 0 else { return old }
    return (UInt8(truncatingIfNeeded: bits >> 40) & 0x3f) << 2 | old & 3
  }
}
