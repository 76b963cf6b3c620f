import Flow
import Linux
import Testing

@testable import Marker

/// What each path can: `sock`, `tc` and `nft` for label, IPv4 DSCP; `+` yes, `-` no, `?` not tried.
private func abilities(_ tc: String, _ nft: String, sock: String = "--") -> PathAbilities {
  var abilities = PathAbilities()
  for (path, marks) in [(PathKind.sock, sock), (.tc, tc), (.nft, nft)] {
    for (stamp, mark) in zip([Stamp.label, .ipv4CodePoint], marks) {
      abilities[path, stamp] = mark == "+" ? .yes : mark == "-" ? .no("refused") : .untried()
    }
  }
  return abilities
}

@Suite struct PlanTests {
  /// Strategy, path, what tc and nft can, and the path of each family: `6` and `4`, `-` for none, `.` for not stamped.
  @Test(arguments: [
    (Strategy.label, PathChoice.auto, "++", "++", "tc ."), (.label, .auto, "-+", "++", "nft ."),
    (.label, .auto, "--", "-+", "- ."), (.label, .auto, "??", "??", "tc ."),
    (.label, .nft, "++", "++", "nft ."),
    (.label, .tc, "+-", "--", "tc ."), (.dscp, .auto, "++", "++", ". nft"),
    (.dscp, .auto, "++", "+-", ". tc"),
    (.dscp, .auto, "+-", "+-", ". -"), (.dscp, .auto, "??", "??", ". nft"), (.dscp, .tc, "++", "++", ". tc"),
    (.auto, .auto, "++", "++", "tc nft"), (.auto, .auto, "--", "++", "nft nft"),
    (.auto, .auto, "++", "--", "tc tc"),
    (.auto, .auto, "--", "--", "- -"), (.auto, .auto, "-+", "-+", "- nft"),
    (.auto, .nft, "++", "++", "nft nft"),
    (.auto, .tc, "++", "++", "tc tc"),
  ])
  func chooses(strategy: Strategy, path: PathChoice, tc: String, nft: String, want: String) throws {
    let plan = try Plan(strategy, path, abilities(tc, nft))
    func word(_ assignment: Plan.Assignment?) -> String {
      assignment.map { $0.path?.rawValue ?? "-" } ?? "."
    }
    #expect("\(word(plan.ipv6)) \(word(plan.ipv4))" == want)
  }

  @Test(arguments: [
    (Strategy.label, PathChoice.tc, "-+", "++"), (.dscp, .nft, "++", "+-"), (.auto, .nft, "++", "+-"),
  ])
  func aNamedPathThatCannotIsAnError(strategy: Strategy, path: PathChoice, tc: String, nft: String) {
    #expect(throws: PlanError.self) { try Plan(strategy, path, abilities(tc, nft)) }
  }

  /// The engines between two ports are taken there, and nowhere else.
  @Test func inline() throws {
    for choice in [PathChoice.xdp, .raw] {
      #expect(throws: PlanError.needsPair(choice)) { try Plan(.label, choice, PathAbilities()) }
      let plan = try Plan(.auto, choice, PathAbilities(), inline: .auto)
      #expect(plan.ipv6?.path?.rawValue == choice.rawValue && plan.ipv4?.fallbacks == [])
    }
    for choice in [PathChoice.tc, .nft] {
      #expect(throws: PlanError.notInline(choice)) {
        try Plan(.label, choice, PathAbilities(), inline: .auto)
      }
    }
    var abilities = PathAbilities()
    #expect(try Plan(.auto, .auto, abilities, inline: .auto).paths == [.raw])
    abilities.set(.raw, to: .no("refused"))
    #expect(try Plan(.auto, .auto, abilities, inline: .auto).paths == [.xdp])
    #expect(try Plan(.auto, .auto, abilities, inline: .raw).paths == [])
    #expect(try Plan(.auto, .auto, abilities).families(of: .raw) == [], "auto alone never takes them")
    abilities.engines = [.xdp, .raw]
    #expect(try Plan(.dscp, .auto, abilities, inline: .auto).ipv4?.path == .xdp)
    #expect(try Plan(.hopByHop, .auto, abilities, inline: .auto).ipv6?.path == nil)
  }

  /// Strategy, path, what sock, tc and nft can, and the path of each family with its complement.
  @Test(arguments: [
    (Strategy.label, PathChoice.auto, "++", "++", "++", "sock+tc ."),
    (.auto, .auto, "++", "++", "++", "sock+tc sock+tc"), (.auto, .auto, "??", "??", "??", "sock+tc sock+tc"),
    (.auto, .auto, "-+", "++", "++", "tc sock+tc"), (.auto, .auto, "+-", "++", "++", "sock+tc nft"),
    // Alone it would leave gaps: another that has none is better.
    (.auto, .auto, "++", "--", "++", "nft nft"), (.auto, .auto, "++", "-+", "++", "nft sock+tc"),
    (.dscp, .auto, "++", "++", "++", ". nft"),
    (.auto, .sock, "++", "--", "--", "sock sock"), (.label, .sock, "+-", "++", "++", "sock ."),
    (.auto, .tc, "++", "++", "++", "tc tc"), (.auto, .nft, "++", "++", "++", "nft nft"),
  ])
  func socketsFirst(
    strategy: Strategy, path: PathChoice, sock: String, tc: String, nft: String, want: String
  ) throws {
    let plan = try Plan(strategy, path, abilities(tc, nft, sock: sock))
    func word(_ assignment: Plan.Assignment?) -> String {
      guard let assignment else { return "." }
      return (assignment.path?.rawValue ?? "-") + (assignment.complement.map { "+\($0.rawValue)" } ?? "")
    }
    #expect("\(word(plan.ipv6)) \(word(plan.ipv4))" == want)
  }

  @Test func aComplementComesFirstAndServesWhatItCompletes() throws {
    let both = try Plan(.auto, .auto, abilities("++", "++", sock: "++"))
    #expect(both.paths == [.tc, .sock] && both.isComplement(.tc) && !both.isComplement(.sock))
    #expect(both.families(of: .tc) == .all && both.families(of: .sock) == .all)
    #expect(both.ipv6?.fallbacks == [.tc, .nft])
    // tc marks IPv6 itself, and completes on IPv4.
    let mixed = try Plan(.auto, .auto, abilities("++", "++", sock: "-+"))
    #expect(!mixed.isComplement(.tc) && mixed.families(of: .sock) == .ipv4)
    #expect(throws: PlanError.self) { try Plan(.auto, .sock, abilities("++", "++", sock: "-+")) }
  }

  @Test func familiesAndFallbacks() throws {
    let plan = try Plan(.auto, .auto, abilities("++", "++"))
    #expect(plan.families(of: .tc) == .ipv6 && plan.families(of: .nft) == .ipv4)
    #expect(plan.ipv6?.fallbacks == [.nft] && plan.ipv4?.fallbacks == [.tc])
    #expect(plan.isProven)
    #expect(try Plan(.auto, .auto, abilities("+?", "?+")).isProven)
    #expect(try !Plan(.auto, .auto, abilities("?+", "++")).isProven, "untried is not proven")
    #expect(try Plan(.auto, .auto, abilities("++", "--")).families(of: .tc) == .all)
  }

  @Test func dscpOnIPv6IsOptedIn() throws {
    let plan = try Plan(.dscp, .auto, PathAbilities(), dscpOnIPv6: true)
    #expect(plan.ipv6?.stamp == .ipv6CodePoint && plan.ipv6?.path == .nft && plan.families(of: .nft) == .all)
    #expect(try Plan(.auto, .auto, PathAbilities(), dscpOnIPv6: true).ipv6?.stamp == .label)
  }

  @Test(arguments: [Strategy.hopByHop, .destination, .hopByHopDestination])
  func extensionHeaders(strategy: Strategy) throws {
    let plan = try Plan(strategy, .auto, PathAbilities())
    #expect(plan.ipv6?.path == .tc && plan.ipv6?.fallbacks == [] && plan.ipv4 == nil)
    #expect(plan.ipv6?.stamp.headers?.rawValue == strategy.rawValue)
    #expect(throws: PlanError.self) { try Plan(strategy, .nft, PathAbilities()) }
    var without = PathAbilities()
    without.set(.tc, to: .no("refused"))
    #expect(try Plan(strategy, .auto, without).ipv6?.path == nil)

    var settings = Settings(
      interfaces: InterfaceSelection(names: ["eth0"]), strategy: strategy, pipes: [], collectors: [])
    // No flow label holds this experiment.
    let tag = try SciTag(experiment: 1023, activity: 1)
    let policy = settings.policy(plan)
    guard case .mark(let mark) = policy.decide(tag, isIPv4: false, entropy: 0) else {
      Issue.record("not marked")
      return
    }
    #expect(mark.headers?.headers.rawValue == strategy.rawValue && mark.label == nil && mark.codePoint == nil)
    #expect(policy.decide(tag, isIPv4: true, entropy: 0) == .notStamped)
    let old = settings
    settings.strategy = .label
    #expect(settings.needsOtherPaths(than: old), "the programs are others")
  }

  @Test func whatNoPathMarksHasNoMarks() throws {
    let settings = Settings(
      interfaces: InterfaceSelection(names: ["eth0"]), strategy: .auto, pipes: [], collectors: [])
    let nothing = settings.policy(try Plan(.auto, .auto, abilities("--", "--")))
    #expect(nothing.decide(SciTag(packed: 206), isIPv4: false, entropy: 0) == .notStamped)
    let both = settings.policy(try Plan(.auto, .auto, abilities("++", "++")))
    for isIPv4 in [true, false] {
      guard case .mark = both.decide(SciTag(packed: 206), isIPv4: isIPv4, entropy: 0) else {
        Issue.record("not marked")
        continue
      }
    }
  }
}
