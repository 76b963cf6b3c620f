import Flow
import Linux

/// Why what was asked for cannot be.
enum PlanError: Error, Equatable, Sendable {
  /// The named path marks between two ports, and there are none.
  case needsPair(PathChoice)
  /// The named path does not mark between two ports.
  case notInline(PathChoice)
  /// The named path cannot do what the strategy needs of it.
  case pinned(PathKind, Strategy, Stamp, Finding)
}

extension PlanError: CustomStringConvertible {
  var description: String {
    switch self {
    case .needsPair(let choice):
      return
        "path \(choice.rawValue) marks between two ports: name them with --inside and --outside, or inline.inside "
        + "and inline.outside in the configuration"
    case .notInline(let choice):
      return "path \(choice.rawValue) marks what this host sends, not what passes between inline.inside and "
        + "inline.outside; for that there are raw and xdp"
    case .pinned(let path, let strategy, let stamp, let finding):
      return
        "strategy \(strategy.rawValue) wants \(stamp.words) by \(path.rawValue), which does not work here: "
        + "\(finding); `--path auto` takes another path or goes on without marks, `marker probe` says what works"
    }
  }
}

extension Stamp {
  /// As a sentence has it.
  var words: String {
    switch self {
    case .label: "the flow label on IPv6"
    case .ipv6CodePoint: "a DSCP on IPv6"
    case .ipv4CodePoint: "a DSCP on IPv4"
    case .hopByHop: "hop-by-hop options on IPv6"
    case .destination: "destination options on IPv6"
    case .hopByHopDestination: "hop-by-hop and destination options on IPv6"
    }
  }
}
