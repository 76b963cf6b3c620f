import Flow
import Linux

/// Which path stamps what, decided from what was asked for and what the host can do.
struct Plan: Equatable, Sendable {
  /// What is done for one address family.
  struct Assignment: Equatable, Sendable {
    /// A path that was passed over, and why.
    struct Rejection: Equatable, Sendable {
      let path: PathKind
      let finding: Finding
    }
    let stamp: Stamp
    /// Nil where no path can; then the family's flows are announced only.
    let path: PathKind?
    /// The path that marks what `path` cannot reach; nil where that reaches all, or was named alone.
    var complement: PathKind?
    /// What was found out about `path`.
    let finding: Finding
    /// Paths to take where `path` fails after all, in this order.
    let fallbacks: [PathKind]
    let rejections: [Rejection]
  }

  /// Nil where the strategy stamps nothing on the family.
  let ipv6: Assignment?
  let ipv4: Assignment?

  /// - Parameters:
  ///   - dscpOnIPv6: whether strategy `dscp` stamps IPv6 too.
  ///   - inline: how packets between two ports are to be taken over; nil where there are no such ports.
  /// - Throws: where a path was named and cannot do it.
  init(
    _ strategy: Strategy, _ choice: PathChoice, _ abilities: PathAbilities, dscpOnIPv6: Bool = false,
    inline: InlineSettings.Engine? = nil
  ) throws(PlanError) {
    let pinned: PathKind?
    switch choice {
    case .auto: pinned = nil
    case .tc: pinned = .tc
    case .nft: pinned = .nft
    case .sock: pinned = .sock
    case .xdp: pinned = .xdp
    case .raw: pinned = .raw
    }
    // The two engines mark between two ports, the other paths what this host sends.
    let isInline = pinned == .xdp || pinned == .raw
    if inline == nil, isInline { throw .needsPair(choice) }
    if inline != nil, pinned != nil, !isInline { throw .notInline(choice) }
    let engines = inline.map { $0.path.map { [$0] } ?? abilities.engines }
    let onIPv6 = strategy == .dscp && dscpOnIPv6 ? Stamp.ipv6CodePoint : strategy.ipv6
    ipv6 = try onIPv6.map { stamp throws(PlanError) in
      try Self.assign(stamp, strategy, pinned, engines, abilities)
    }
    ipv4 = try strategy.ipv4.map { stamp throws(PlanError) in
      try Self.assign(stamp, strategy, pinned, engines, abilities)
    }
  }

  private static func assign(
    _ stamp: Stamp, _ strategy: Strategy, _ pinned: PathKind?, _ engines: [PathKind]?,
    _ abilities: PathAbilities
  ) throws(PlanError) -> Assignment {
    let order = pinned.map { [$0] } ?? engines ?? preference(stamp, strategy)
    var able: [PathKind] = []
    var rejections: [Assignment.Rejection] = []
    for path in order {
      let finding = abilities[path, stamp]
      if path == .sock, pinned == nil, abilities[.tc, stamp].isNo { continue }
      if finding.isNo { rejections.append(.init(path: path, finding: finding)) } else { able.append(path) }
    }
    if let pinned, able.isEmpty { throw .pinned(pinned, strategy, stamp, abilities[pinned, stamp]) }
    return Assignment(
      stamp: stamp, path: able.first, complement: able.first == .sock && pinned == nil ? .tc : nil,
      finding: able.first.map { abilities[$0, stamp] } ?? .untried(),
      fallbacks: Array(able.dropFirst()), rejections: rejections)
  }

  /// The label by the kernel itself, which costs no packet anything, with tc for what that cannot reach, else by eBPF;
  /// DSCP by nftables, which every host has, unless the label's programs are there anyway.
  private static func preference(_ stamp: Stamp, _ strategy: Strategy) -> [PathKind] {
    switch stamp {
    case .label: [.sock, .tc, .nft]
    case .ipv4CodePoint where strategy == .auto: [.sock, .nft, .tc]
    case .ipv4CodePoint, .ipv6CodePoint: [.nft, .tc]
    case .hopByHop, .destination, .hopByHopDestination: [.tc]
    }
  }
}

extension Plan {
  /// No packet is stamped.
  static let nothing = Plan()

  private init() { (ipv6, ipv4) = (nil, nil) }

  var assignments: [Assignment] { [ipv6, ipv4].compactMap { $0 } }

  /// The paths in use, each once.
  var paths: [PathKind] {
    var paths: [PathKind] = []
    // A complement first: what it completes reads its table.
    for path in assignments.flatMap({ [$0.complement, $0.path] }).compactMap(\.self)
    where !paths.contains(path) {
      paths.append(path)
    }
    return paths
  }

  func stamps(of path: PathKind) -> [Stamp] {
    assignments.filter { $0.path == path || $0.complement == path }.map(\.stamp)
  }

  /// Whether a path marks only what another does not reach.
  func isComplement(_ path: PathKind) -> Bool {
    assignments.contains { $0.complement == path } && !assignments.contains { $0.path == path }
  }

  func families(of path: PathKind) -> AddressFamilies {
    stamps(of: path).reduce(into: []) { $0.formUnion($1.families) }
  }

  /// Whether everything that the strategy stamps was seen to work.
  var isProven: Bool { assignments.allSatisfy { $0.path != nil && $0.finding.isYes } }
}

extension Strategy {
  var ipv6: Stamp? {
    switch self {
    case .label, .auto: .label
    case .dscp: nil
    case .hopByHop: .hopByHop
    case .destination: .destination
    case .hopByHopDestination: .hopByHopDestination
    }
  }

  var ipv4: Stamp? {
    switch self {
    case .dscp, .auto: .ipv4CodePoint
    case .label, .hopByHop, .destination, .hopByHopDestination: nil
    }
  }
}
