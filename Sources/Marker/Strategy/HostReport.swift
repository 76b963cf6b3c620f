import Flow
import Linux
import NFT
import XDP

/// Everything that was tried on this host, each by doing it, and what follows for a strategy.
struct HostReport {
  /// What a row is about, in the order in which they are shown.
  enum Group: String, CaseIterable {
    case process, kernel, tc, nft, sock, sockets
    case xdp = "AF_XDP"
    case inline
  }
  /// Something that was tried.
  struct Row {
    let group: Group
    let attempt: Attempt
  }
  private(set) var rows: [Row] = []
  private(set) var abilities = PathAbilities()

  /// - Parameters:
  ///   - maxFlows: how many flows memory is tried for.
  ///   - interfaces: those to say something about.
  init(maxFlows: Int, _ interfaces: InterfaceReport) {
    add(.process, Capability.attempts())
    add(.process, Confinement.current().attempts)
    add(.kernel, [Attempt("kernel lockdown", Lockdown.finding())])
    add(.kernel, [Attempt("bpf file system", BPFFileSystem.finding())])
    add(.kernel, BPFProbe.attempts(maxFlows: maxFlows))
    tc()
    nft()
    sock()
    add(
      .sockets,
      [
        Attempt("sock_diag", SocketDiagnostics.finding()),
        Attempt("packet socket with vnet headers", PacketSocket.finding()), SockOpsProbe.attempt(),
      ])
    add(.xdp, XDPSocketProbe.attempts() + interfaces.xdpAttempts)
    for kind in [PathKind.raw, .xdp] {
      let findings = InlinePath.probe(kind)
      add(.inline, Self.attempts("\(kind.rawValue) between two ports", findings))
      abilities.merge(kind, findings)
    }
    add(.inline, interfaces.inlineAttempts)
  }

  private mutating func add(_ group: Group, _ attempts: [Attempt]) {
    rows += attempts.map { Row(group: group, attempt: $0) }
  }

  /// The path works where one of its hooks does.
  private mutating func tc() {
    var best: [Stamp: Finding] = [:]
    for hook in TCHook.allCases {
      let findings = TCPath.probe(hook)
      add(.tc, Self.attempts("tc by \(hook.rawValue)", findings))
      for (stamp, finding) in findings where best[stamp]?.isYes != true {
        best[stamp] = finding.isYes ? .yes(hook.rawValue) : finding
      }
    }
    abilities.merge(.tc, best)
  }

  private mutating func nft() {
    let findings = NFTPath.probe()
    add(.nft, Self.attempts("nft", findings))
    abilities.merge(.nft, findings)
  }

  private mutating func sock() {
    let sock = SockPath.probe()
    add(.sock, Self.attempts("sock", sock.stamps) + sock.attempts)
    abilities.merge(.sock, sock.stamps)
    // The private namespace that it was tried in has settings of its own.
    let label = SockConditions.label()
    add(.sock, [Attempt("sock: settings for labels", label)])
    if label.isNo { abilities[.sock, .label] = label }
  }

  private static func attempts(_ way: String, _ findings: [Stamp: Finding]) -> [Attempt] {
    findings.sorted { $0.key.rawValue < $1.key.rawValue }.map { stamp, finding in
      Attempt("\(way): \(stamp.words)", finding)
    }
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
        + (assignment.complement.map { ", and by \($0.rawValue) what that does not reach" } ?? "")
        + (next.isEmpty ? "" : ", else \(next)")
        + (passed.isEmpty ? "" : "; \(passed.joined(separator: "; "))")
    }
  }
}
