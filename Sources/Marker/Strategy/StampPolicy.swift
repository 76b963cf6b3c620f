import Flow

extension Settings {
  /// What the table decides on by a plan: a family that no path marks has no marks.
  func policy(_ plan: Plan) -> MarkPolicy {
    MarkPolicy(ipv6: stamping(plan.ipv6), ipv4: stamping(plan.ipv4))
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
