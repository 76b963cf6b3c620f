public import Flow

/// A mark and its address family in 32 bits: what a flow's element maps to, and what stands in the packet's mark
/// while the packet is in our chains. It reads well in hexadecimal, the last five digits are the flow label, and
/// it says all that a restart needs to know.
///
/// - 0…19: the flow label
/// - 20…25: the DSCP
/// - 26: a label is stamped
/// - 27: a DSCP is stamped
/// - 28: the label's entropy is the flow's
/// - 29: only packets whose DSCP is 0
/// - 30: IPv4
public struct MarkWord: Hashable, Sendable {
  public let rawValue: UInt32

  private static let hasLabel: UInt32 = 1 << 26
  private static let hasCodePoint: UInt32 = 1 << 27
  private static let ownEntropy: UInt32 = 1 << 28
  private static let onlyIfUnset: UInt32 = 1 << 29
  private static let ipv4: UInt32 = 1 << 30

  /// Nil for a mark that stamps nothing on that family.
  public init?(_ mark: Mark, isIPv4: Bool) {
    var word: UInt32 = isIPv4 ? Self.ipv4 : 0
    if let stamp = mark.label, !isIPv4 {
      word |= Self.hasLabel | stamp.label.value | (stamp.entropy == .flow ? Self.ownEntropy : 0)
    }
    if let stamp = mark.codePoint {
      word |= Self.hasCodePoint | UInt32(stamp.codePoint.value) << 20
      if stamp.onlyIfUnset { word |= Self.onlyIfUnset }
    }
    guard word & (Self.hasLabel | Self.hasCodePoint) != 0 else { return nil }
    rawValue = word
  }

  /// A word that was read back; nil where no mark makes it.
  public init?(rawValue: UInt32) {
    self.init(unchecked: rawValue)
    guard let mark, MarkWord(mark, isIPv4: isIPv4) == self else { return nil }
  }

  private init(unchecked: UInt32) { rawValue = unchecked }

  public var isIPv4: Bool { rawValue & Self.ipv4 != 0 }

  /// Nil only for a word that no mark makes.
  public var mark: Mark? {
    var mark = Mark()
    if rawValue & Self.hasLabel != 0, let label = FlowLabel(Int(rawValue & FlowLabel.mask)) {
      mark.label = LabelStamp(label, rawValue & Self.ownEntropy != 0 ? .flow : .kernel)
    }
    if rawValue & Self.hasCodePoint != 0, let codePoint = CodePoint(Int(rawValue >> 20 & 0x3f)) {
      mark.codePoint = CodePointStamp(codePoint, onlyIfUnset: rawValue & Self.onlyIfUnset != 0)
    }
    return mark.label == nil && mark.codePoint == nil ? nil : mark
  }

  /// The chain that stamps it, `ip6_label_1803c` or `ip_dscp_11_unset`.
  var chain: String {
    var name = isIPv4 ? "ip" : "ip6"
    if let label = mark?.label {
      name += "_label_" + String(label.label.description.dropFirst(2))
      if label.entropy == .flow { name += "_fixed" }
    }
    if let stamp = mark?.codePoint {
      name += "_dscp_\(stamp.codePoint.value)" + (stamp.onlyIfUnset ? "_unset" : "")
    }
    return name
  }
}
