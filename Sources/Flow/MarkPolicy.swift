/// Decides from a flow's tag and address family what its packets are stamped with.
public struct MarkPolicy: Sendable {
  /// What is stamped on one address family.
  public enum Stamping: Sendable {
    case nothing
    /// IPv6 only.
    case label(LabelEntropy)
    /// - Parameter onlyIfUnset: leave packets alone whose DSCP is not 0.
    case codePoint(CodePointMap, onlyIfUnset: Bool)
    /// IPv6 only.
    case extensionHeaders(ExtensionHeaders)
  }

  public var ipv6: Stamping
  public var ipv4: Stamping

  public init(ipv6: Stamping, ipv4: Stamping) {
    self.ipv6 = ipv6
    self.ipv4 = ipv4
  }

  /// The default strategy: the flow label on IPv6, fireflies only on IPv4.
  public static func label(_ entropy: LabelEntropy) -> MarkPolicy {
    MarkPolicy(ipv6: .label(entropy), ipv4: .nothing)
  }

  /// What the policy says of one flow.
  public enum Decision: Equatable, Sendable {
    case mark(Mark)
    /// This address family is not stamped.
    case notStamped
    /// The family is stamped, but this tag has no mark there: the flow is announced only.
    case refused
  }

  /// - Parameter entropy: random bits, drawn once for the flow.
  public func decide(_ tag: SciTag, isIPv4: Bool, entropy: UInt32) -> Decision {
    switch isIPv4 ? ipv4 : ipv6 {
    case .nothing:
      return .notStamped
    case .label(let source):
      guard !isIPv4 else { return .notStamped }
      guard let label = FlowLabel(tag, entropy: entropy) else { return .refused }
      return .mark(Mark(label: LabelStamp(label, source)))
    case .codePoint(let map, let onlyIfUnset):
      switch map.answer(for: tag) {
      case .codePoint(let codePoint):
        return .mark(Mark(codePoint: CodePointStamp(codePoint, onlyIfUnset: onlyIfUnset)))
      case .unmarked: return .notStamped
      case .refused: return .refused
      }
    case .extensionHeaders(let headers):
      guard !isIPv4 else { return .notStamped }
      guard let option = TagOption(tag) else { return .refused }
      return .mark(Mark(headers: HeaderStamp(option, headers)))
    }
  }
}
