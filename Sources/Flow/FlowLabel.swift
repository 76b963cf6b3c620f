/// An IPv6 flow label (RFC 6437): 20 bits, held in host order.
///
/// As a SciTag carries it (draft-cc-v6ops-wlcg-flow-label-marking-03 §4), from the most significant bit:
/// two bits of entropy, the experiment's nine bits in reverse, one bit of entropy, the activity's six bits,
/// two bits of entropy.
public struct FlowLabel: Hashable, Sendable {
  /// 0…0xFFFFF.
  public let value: UInt32

  /// The 20 bits of a label.
  public static let mask: UInt32 = 0xf_ffff
  /// The five bits that carry no tag: 1, 2, 12, 19 and 20 in the draft's numbering (most significant first).
  public static let entropyMask: UInt32 = 0xc_0103
  /// The experiments that nine bits can hold. Experiment 0 names none.
  public static let experiments: ClosedRange<UInt16> = 1...511

  /// Nil where the number has more than 20 bits or is negative.
  public init?(_ number: Int) {
    guard number >= 0, number <= Int(Self.mask) else { return nil }
    value = UInt32(number)
  }

  /// The label of a tag.
  ///
  /// - Parameter entropy: any number; its bits in `entropyMask` are taken.
  /// - Returns: nil where the experiment is not in `experiments`.
  public init?(_ tag: SciTag, entropy: UInt32 = 0) {
    guard Self.experiments.contains(tag.experiment) else { return nil }
    value =
      Self.reversed(UInt32(tag.experiment)) << 9 | UInt32(tag.activity) << 2
      | entropy & Self.entropyMask
  }

  /// The tag that the label carries, whoever set it; entropy bits are ignored.
  public var sciTag: SciTag {
    let experiment = Self.reversed(value >> 9 & 0x1ff)
    return SciTag(packed: UInt16(experiment << 6 | value >> 2 & 0x3f))
  }

  /// The low nine bits in reverse order.
  private static func reversed(_ nine: UInt32) -> UInt32 {
    var bits = nine
    bits = (bits & 0x5555_5555) << 1 | bits >> 1 & 0x5555_5555
    bits = (bits & 0x3333_3333) << 2 | bits >> 2 & 0x3333_3333
    bits = (bits & 0x0f0f_0f0f) << 4 | bits >> 4 & 0x0f0f_0f0f
    return bits.byteSwapped >> 23
  }
}

extension FlowLabel: CustomStringConvertible {
  public var description: String {
    let digits = String(value, radix: 16)
    return "0x" + String(repeating: "0", count: 5 - digits.count) + digits
  }
}
