internal import CLinux
public import Flow
internal import Glibc

extension PrivateLink {
  // Any mark will do whose every part differs from what the packet has by itself.
  private static let label: Int = 0x1803c
  private static let codePoint: Int = 46
  private static let tag = SciTag(packed: 0x81cf)

  /// Has a path mark a flow, sends a packet of it over the pair, and reads the mark back at the other end.
  ///
  /// - Parameters:
  ///   - path: marks what leaves by `near`.
  ///   - transport: of the flow; of TCP it is the first packet of a connection.
  public mutating func finding(
    of stamp: Stamp, by path: any MarkingPath, on transport: TransportProtocol = .udp
  ) throws(SystemError) -> Finding {
    guard let mark = Self.mark(stamp) else { return .untried("no mark for \(stamp.rawValue)") }
    let isIPv4 = stamp.families == .ipv4
    let key = FlowKey(
      local: Endpoint(isIPv4 ? Self.local4 : Self.local6, nextPort()),
      remote: Endpoint(isIPv4 ? Self.remote4 : Self.remote6, 9), transport: transport)
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, key, mark))
    path.apply(&batch)
    if let failure = batch.changes[0].failure {
      return .no("the mark was refused: \(String(cString: strerror(failure.code)))")
    }
    guard let packet = try send(key) else {
      return .no("the mark was taken, but the packet never arrived")
    }
    if let fault = Self.fault(in: packet, stamp) {
      return .no("the mark was taken, but the packet left with \(fault)", needs: "another path")
    }
    return .yes
  }

  static func mark(_ stamp: Stamp) -> Mark? {
    switch stamp {
    case .label: FlowLabel(label).map { Mark(label: LabelStamp($0, .flow)) }
    case .ipv6CodePoint, .ipv4CodePoint:
      CodePoint(codePoint).map { Mark(codePoint: CodePointStamp($0, onlyIfUnset: false)) }
    case .hopByHop, .destination, .hopByHopDestination:
      stamp.headers.flatMap { headers in
        TagOption(tag).map { Mark(headers: HeaderStamp($0, headers)) }
      }
    }
  }

  /// What is wrong with a packet that should have been marked; nil where nothing is.
  static func fault(in packet: [UInt8], _ stamp: Stamp) -> String? {
    // RFC 8200 §3: version, traffic class, flow label. RFC 791 §3.1: version, header length, TOS, total length.
    let word = packet[..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    switch stamp {
    case .label:
      let seen = word & FlowLabel.mask
      if seen != UInt32(label) { return "flow label 0x\(String(seen, radix: 16))" }
      return word >> 20 == 0x600 ? nil : "traffic class 0x\(String(word >> 20 & 0xff, radix: 16))"
    case .ipv6CodePoint:
      let seen = word >> 22 & 0x3f
      return seen == UInt32(codePoint) ? nil : "DSCP \(seen)"
    case .ipv4CodePoint:
      let seen = word >> 18 & 0x3f
      if seen != UInt32(codePoint) { return "DSCP \(seen)" }
      // RFC 1071: over a header and its checksum the sum is all ones.
      var sum: UInt32 = 0
      for place in stride(from: 0, to: 20, by: 2) {
        sum += UInt32(packet[place]) << 8 | UInt32(packet[place + 1])
      }
      while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
      return sum == 0xffff ? nil : "a wrong header checksum"
    case .hopByHop, .destination, .hopByHopDestination:
      return stamp.headers.flatMap { headerFault(in: packet, $0) }
    }
  }

  private static func headerFault(in packet: [UInt8], _ headers: ExtensionHeaders) -> String? {
    let (hopByHop, destination, udp) = (UInt8(IPPROTO_HOPOPTS), UInt8(IPPROTO_DSTOPTS), UInt8(IPPROTO_UDP))
    guard let option = TagOption(tag) else { return nil }
    // RFC 8200 §3: the payload's length stands at byte 4, the next header at 6; the header takes 40 bytes.
    let first = headers.hasHopByHop ? hopByHop : destination
    let chain: [UInt8] =
      switch headers {
      case .hopByHop, .destination: option.header(next: udp)
      case .hopByHopDestination: option.header(next: destination) + option.header(next: udp)
      }
    guard packet.count > 40 + chain.count, packet[6] == first, Array(packet[40..<40 + chain.count]) == chain
    else {
      return "next header \(packet[6])"
    }
    let length = Int(packet[4]) << 8 | Int(packet[5])
    return length == packet.count - 40 ? nil : "payload length \(length) of \(packet.count - 40)"
  }

  /// What it takes to try something on a private link, by the errno of what failed.
  public static func need(_ code: Int32) -> String {
    switch code {
    case EPERM, EACCES:
      "trying it takes CAP_NET_ADMIN, CAP_NET_RAW, and CAP_SYS_ADMIN for a private network namespace"
    case EOPNOTSUPP: "trying it takes veth (CONFIG_VETH, module veth)"
    case ENOSYS, EINVAL: "trying it takes network namespaces (CONFIG_NET_NS)"
    default: ""
    }
  }
}
