import Flow
import Linux
import NFT
import XDP

/// Everything that was tried on this host, each by doing it, and what follows for a strategy.
struct HostReport {
  /// Something that was tried.
  struct Row {
    let what: String
    let finding: Finding
  }
  private(set) var rows: [Row] = []
  private(set) var abilities = PathAbilities()

  init() {
    capabilities()
    rows.append(Row(what: "kernel lockdown", finding: Lockdown.finding()))
    rows.append(Row(what: "bpf file system", finding: BPFFileSystem.finding()))
    rows.append(Row(what: "sock_diag", finding: SocketDiagnostics.finding()))
    rows.append(Row(what: "packet socket with vnet headers", finding: PacketSocket.finding()))
    tc()
    nft()
  }

  private mutating func capabilities() {
    do throws(SystemError) {
      let effective = try Capability.effective()
      for capability in Capability.allCases {
        let has = effective.contains(capability)
        rows.append(
          Row(
            what: capability.name,
            finding: has ? .yes(capability.use) : .no("not in effect", needs: capability.use)))
      }
    } catch {
      rows.append(Row(what: "capabilities", finding: .untried("\(error)")))
    }
  }

  /// The path works where one of its hooks does.
  private mutating func tc() {
    var best: [Stamp: Finding] = [:]
    for hook in TCHook.allCases {
      for (stamp, finding) in TCPath.probe(hook).sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        rows.append(Row(what: "tc by \(hook.rawValue): \(stamp.words)", finding: finding))
        if best[stamp]?.isYes != true { best[stamp] = finding.isYes ? .yes(hook.rawValue) : finding }
      }
    }
    abilities.merge(.tc, best)
  }

  private mutating func nft() {
    let findings = NFTPath.probe()
    for (stamp, finding) in findings.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      rows.append(Row(what: "nft: \(stamp.words)", finding: finding))
    }
    abilities.merge(.nft, findings)
  }
}

extension Plan {
  /// The decision for each family, as a person reads it.
  var sentences: [String] {
    [("IPv6", ipv6), ("IPv4", ipv4)].map { family, assignment in
      guard let assignment else { return "\(family): not stamped, flows are announced only" }
      guard let path = assignment.path else {
        let reasons = assignment.rejections.map { "\($0.path.rawValue): \($0.finding)" }.joined(
          separator: ". ")
        return "\(family): no path works for \(assignment.stamp.words), flows are announced only (\(reasons))"
      }
      let passed = assignment.rejections.map { "\($0.path.rawValue) does not: \($0.finding)" }
      let next = assignment.fallbacks.map(\.rawValue).joined(separator: ", ")
      return "\(family): \(assignment.stamp.words) by \(path.rawValue)"
        + (assignment.finding.description.isEmpty ? "" : " (\(assignment.finding))")
        + (next.isEmpty ? "" : ", else \(next)")
        + (passed.isEmpty ? "" : "; \(passed.joined(separator: "; "))")
    }
  }
}
