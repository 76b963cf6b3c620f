import Flow

/// The two ports that packets of other hosts pass, and how they are taken over there.
struct InlineSettings: Equatable, Sendable {
  enum Engine: String, Sendable, CaseIterable {
    case auto, xdp, raw

    /// Nil for the better of the two.
    var path: PathKind? {
      switch self {
      case .auto: nil
      case .xdp: .xdp
      case .raw: .raw
      }
    }
  }

  /// Where the hosts are that packets are marked for.
  var inside: String?
  /// Where their packets leave.
  var outside: String?
  var engine = Engine.auto
  /// The addresses of the hosts inside.
  var networks: [Network] = []

  var isOn: Bool { inside != nil && outside != nil }
  var isHalf: Bool { (inside == nil) != (outside == nil) }
}
