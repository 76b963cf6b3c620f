/// What is to be written into every packet of a flow. A field that is nil is left as the packet has it.
public struct Mark: Hashable, Sendable {
  /// IPv6 only.
  public var label: LabelStamp?
  /// The DSCP field of IPv4's TOS or IPv6's traffic class.
  public var codePoint: CodePointStamp?
  /// IPv6 only, and alone: such a mark has neither label nor code point on IPv6.
  public var headers: HeaderStamp?

  public init(label: LabelStamp? = nil, codePoint: CodePointStamp? = nil, headers: HeaderStamp? = nil) {
    self.label = label
    self.codePoint = codePoint
    self.headers = headers
  }
}

/// Extension headers to insert.
public struct HeaderStamp: Hashable, Sendable {
  public let option: TagOption
  public let headers: ExtensionHeaders

  public init(_ option: TagOption, _ headers: ExtensionHeaders) {
    self.option = option
    self.headers = headers
  }
}

/// A flow label to stamp.
public struct LabelStamp: Hashable, Sendable {
  /// The tag's label, with the flow's own entropy in its entropy bits.
  public let label: FlowLabel
  public let entropy: LabelEntropy

  public init(_ label: FlowLabel, _ entropy: LabelEntropy) {
    self.label = label
    self.entropy = entropy
  }
}

/// Where the five entropy bits of a label come from.
public enum LabelEntropy: String, Sendable, CaseIterable {
  /// From the label that the kernel gave the packet, which is stable per flow; from the flow's own entropy
  /// where the packet has no label.
  case kernel
  /// Fixed at random when the flow starts, as the draft words it.
  case flow
}

/// A DSCP to stamp (RFC 2474): six bits, above the two of ECN, which are never touched.
public struct CodePointStamp: Hashable, Sendable {
  public let codePoint: CodePoint
  /// Leave packets alone whose DSCP is not 0: somebody meant it.
  public let onlyIfUnset: Bool

  public init(_ codePoint: CodePoint, onlyIfUnset: Bool) {
    self.codePoint = codePoint
    self.onlyIfUnset = onlyIfUnset
  }
}

/// A differentiated services code point (RFC 2474 §3), 0…63.
public struct CodePoint: Hashable, Sendable {
  public let value: UInt8

  /// Nil where the number does not fit six bits.
  public init?(_ number: Int) {
    guard (0...63).contains(number) else { return nil }
    value = UInt8(number)
  }
}
