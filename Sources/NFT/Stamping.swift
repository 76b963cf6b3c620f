internal import CNFT
internal import Flow
internal import Glibc

/// The rules that write a mark into a packet. What they read and write is spelled as nft itself compiles it, so that
/// `nft list` shows it in its own words.
enum Stamping {
  static let a = Register(0)

  /// meta nfproto ipv6
  static let isIPv6: [Expression] = family(UInt8(NFPROTO_IPV6))
  /// meta nfproto ipv4
  static let isIPv4: [Expression] = family(UInt8(NFPROTO_IPV4))

  private static func family(_ number: UInt8) -> [Expression] {
    [.loadMeta(.networkProtocol, a), .equal(a, [number])]
  }

  /// ip6 flowlabel 0
  static let hasNoLabel: [Expression] =
    isIPv6 + [
      .load(.network, at: 1, count: 3, a),
      .bitwise(a, mask: [0x0f, 0xff, 0xff], xor: [0, 0, 0]),
      .equal(a, [0, 0, 0]),
    ]

  /// @nh,0,32 set @nh,0,32 & … | …
  ///
  /// Four bytes, because kernels from 7.3 on ignore a write at an odd offset, which `ip6 flowlabel set` is.
  /// Version and traffic class always stay.
  static func writeLabel(keeping kept: UInt32, _ bits: UInt32) -> [Expression] {
    let mask = kept | ~FlowLabel.mask
    return [
      .load(.network, at: 0, count: 4, a),
      .bitwise(a, mask: bytes(mask), xor: bytes(bits)),
      .write(a, at: 0, count: 4, updatesIPv4Checksum: false),
    ]
  }

  /// The rules of a chain that stamps one mark; the packets are of its family.
  static func rules(_ word: MarkWord) -> [[Expression]] {
    guard let mark = word.mark else { return [] }
    var rules: [[Expression]] = []
    if let stamp = mark.label {
      let label = stamp.label.value
      switch stamp.entropy {
      case .flow:
        rules.append(writeLabel(keeping: 0, label))
      case .kernel:
        let own = label & FlowLabel.entropyMask
        if own != 0 { rules.append(hasNoLabel + writeLabel(keeping: FlowLabel.mask & ~own, own)) }
        rules.append(writeLabel(keeping: FlowLabel.entropyMask, label & ~FlowLabel.entropyMask))
      }
    }
    if let stamp = mark.codePoint { rules.append(codePoint(stamp, isIPv4: word.isIPv4)) }
    return rules
  }

  /// [ip|ip6 dscp cs0] ip|ip6 dscp set …
  static func codePoint(_ stamp: CodePointStamp, isIPv4: Bool) -> [Expression] {
    let value = stamp.codePoint.value
    // The DSCP is the upper six bits of IPv4's second byte; in IPv6 it follows the four bits of the version.
    let (keep, bits): ([UInt8], [UInt8]) =
      isIPv4 ? ([0xff, 0x03], [0, value << 2]) : ([0xf0, 0x3f], [value >> 2, value << 6])
    var rule = isIPv4 ? Self.isIPv4 : isIPv6
    if stamp.onlyIfUnset {
      if isIPv4 {
        rule += [.load(.network, at: 1, count: 1, a), .bitwise(a, mask: [0xfc], xor: [0]), .equal(a, [0])]
      } else {
        rule += [
          .load(.network, at: 0, count: 2, a), .bitwise(a, mask: [0x0f, 0xc0], xor: [0, 0]),
          .equal(a, [0, 0]),
        ]
      }
    }
    return rule + [
      .load(.network, at: 0, count: 2, a),
      .bitwise(a, mask: keep, xor: bits),
      .write(a, at: 0, count: 2, updatesIPv4Checksum: isIPv4),
    ]
  }

  private static func bytes(_ number: UInt32) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
  }
}
