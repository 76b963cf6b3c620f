import Flow
import Linux

extension Settings {
  /// Which path stamps what where paths can do what is given.
  func plan(_ abilities: PathAbilities = PathAbilities()) throws(PlanError) -> Plan {
    // Sockets are set whatever interface their packets leave by.
    if interfaces.isEmpty, !inline.isOn, path != .sock {
      // A path that has nothing to do is no mistake, except one that waits for ports.
      if path == .xdp || path == .raw { throw .needsPair(path) }
      return .nothing
    }
    var abilities = abilities
    if sockets.group == .none {
      abilities.set(.sock, to: .no("sockets.cgroup is none", needs: "auto, or a folder"))
    }
    return try Plan(
      strategy, path, abilities, dscpOnIPv6: dscpOnIPv6, inline: inline.isOn ? inline.engine : nil)
  }

  /// What the table decides on by a plan: a family that no path marks has no marks.
  func policy(_ plan: Plan) -> MarkPolicy {
    MarkPolicy(ipv6: stamping(plan.ipv6), ipv4: stamping(plan.ipv4))
  }

  /// What is stamped into packets that belong to no flow; nil where `markAll` is not set.
  func scope(_ plan: Plan) -> ScopeMarks? {
    guard let markAll else { return nil }
    let policy = policy(plan)
    func mark(isIPv4: Bool) -> Mark? {
      guard case .mark(let mark) = policy.decide(markAll, isIPv4: isIPv4, entropy: 0) else { return nil }
      return mark
    }
    return ScopeMarks(ipv6: mark(isIPv4: false), ipv4: mark(isIPv4: true), except: exclusions)
  }

  private func stamping(_ assignment: Plan.Assignment?) -> MarkPolicy.Stamping {
    guard let assignment, assignment.path != nil else { return .nothing }
    return switch assignment.stamp {
    case .label: .label(entropy)
    case .ipv6CodePoint, .ipv4CodePoint: .codePoint(codePoints, onlyIfUnset: onlyIfUnset)
    case .hopByHop: .extensionHeaders(.hopByHop)
    case .destination: .extensionHeaders(.destination)
    case .hopByHopDestination: .extensionHeaders(.hopByHopDestination)
    }
  }
}
