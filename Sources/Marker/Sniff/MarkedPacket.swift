import Flow
import XDP

/// What a packet's headers say, as far as it has to do with marks. Read without allocating.
struct MarkedPacket {
  let isIPv6: Bool
  /// The transport's number.
  let transport: UInt8
  /// Ports are 0 where the packet shows none: other transports, fragments behind the first.
  let source: Endpoint
  let destination: Endpoint
  let isFragment: Bool
  /// DSCP and ECN: IPv6's traffic class, IPv4's TOS.
  let trafficClass: UInt8
  /// The flow label; nil on IPv4.
  let label: FlowLabel?
  let hopByHop: CarriedOption?
  let destinationOption: CarriedOption?
  /// Bytes from the IP header on that the packet had.
  let length: Int

  var codePoint: UInt8 { trafficClass >> 2 }

  /// Nil for what is no IPv4 or IPv6 packet whose headers were captured as a whole.
  init?(_ packet: CapturedPacket, _ link: LinkType) {
    guard let network = link.network(of: packet.frame), let start = packet.frame.baseAddress,
      let shape = PacketShape(
        start, packet.frame.count, etherType: network.etherType, behind: network.start)
    else { return nil }
    isIPv6 = shape.isIPv6
    transport = shape.next
    (source, destination) = (shape.source, shape.destination)
    isFragment = shape.isFragment
    length = packet.length - shape.network
    // PacketShape has seen the whole IP header.
    let word = UInt32(bigEndian: packet.frame.loadUnaligned(fromByteOffset: shape.network, as: UInt32.self))
    if shape.isIPv6 {
      // RFC 8200 §3: version, traffic class, flow label.
      trafficClass = UInt8(truncatingIfNeeded: word >> 20)
      label = FlowLabel(Int(word & FlowLabel.mask))
    } else {
      // RFC 791 §3.1: version, header length, TOS, total length.
      trafficClass = UInt8(truncatingIfNeeded: word >> 16)
      label = nil
    }
    hopByHop = shape.hopByHop.flatMap { CarriedOption(packet.frame, header: $0) }
    destinationOption = shape.destinationOptions.flatMap { CarriedOption(packet.frame, header: $0) }
  }
}

/// An option that may carry a SciTag, as it stands in a packet.
struct CarriedOption: Equatable {
  let type: UInt8
  /// Bytes of data.
  let length: Int
  /// The data in network byte order; of more than four bytes the first four.
  let number: UInt32

  /// The first option of one of these types in a header of options (RFC 8200 §4.2).
  init?(_ frame: UnsafeRawBufferPointer, header: Int) {
    guard header + 2 <= frame.count else { return nil }
    let end = min(header + (Int(frame[header + 1]) + 1) * 8, frame.count)
    var at = header + 2
    while at < end {
      // Pad1 has no length.
      if frame[at] == 0 {
        at += 1
        continue
      }
      guard at + 2 <= end else { return nil }
      let (type, length) = (frame[at], Int(frame[at + 1]))
      if type == 0x1e || type == 0x1f {
        guard at + 2 + length <= end else { return nil }
        self.type = type
        self.length = length
        var number: UInt32 = 0
        for place in 0..<min(length, 4) { number = number << 8 | UInt32(frame[at + 2 + place]) }
        self.number = number
        return
      }
      at += 2 + length
    }
    return nil
  }

  /// The tag that it carries as a generation wrote it; nil where it cannot be of that generation.
  func tag(_ generation: TagOption.Generation) -> SciTag? {
    TagOption(type: type, length: length, number, generation)?.tag
  }

  /// By the newest generation that it can be of.
  var tag: SciTag? { tag(.numbers) ?? tag(.label) ?? tag(.wideLabel) }
}
