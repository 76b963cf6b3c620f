import Flow
import Linux

/// Why what was asked for cannot be.
enum PlanError: Error, Equatable, Sendable {
  case unknownPath(PathChoice)
  /// The named path cannot do what the strategy needs of it.
  case pinned(PathKind, Strategy, Stamp, Finding)
}

extension PlanError: CustomStringConvertible {
  var description: String {
    switch self {
    case .unknownPath(let choice):
      let paths = PathKind.allCases.map(\.rawValue)
      return "this version has no path \(choice.rawValue); it has "
        + paths.dropLast().joined(separator: ", ") + (paths.last.map { " and \($0)" } ?? "")
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
