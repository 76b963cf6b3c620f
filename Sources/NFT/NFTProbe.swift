internal import Flow
internal import Glibc
internal import Linux

/// Whether this host can stamp something by nftables, found out by doing it.
public enum ProbeVerdict: Equatable, Sendable {
  case yes
  /// The kernel's answer, and what would be needed.
  case no(String)
  /// It could not be tried; whether it works is not known.
  case untried(String)
}

/// What the nft path can stamp on this host.
public struct ProbeReport: Equatable, Sendable {
  public var label: ProbeVerdict
  public var ipv6CodePoint: ProbeVerdict
  public var ipv4CodePoint: ProbeVerdict

  init(all verdict: ProbeVerdict) {
    label = verdict
    ipv6CodePoint = verdict
    ipv4CodePoint = verdict
  }
}

extension NFTPath {
  /// Loads the real rules in a throw-away network namespace, sends a packet through them over a veth pair and reads
  /// the mark back at the other end: there are kernels where a rule loads and does nothing. Nothing of the host
  /// changes. Takes milliseconds where it works and some seconds where packets are lost.
  public static func probe() -> ProbeReport {
    do {
      return try inPrivateNamespace { () throws(SystemError) -> ProbeReport in try probeHere() }
    } catch {
      let need: String =
        switch error.code {
        case EPERM: "; trying it takes CAP_NET_ADMIN, and CAP_SYS_ADMIN for a network namespace of its own"
        case EOPNOTSUPP: "; trying it takes veth (CONFIG_VETH, module veth)"
        default: ""
        }
      return ProbeReport(all: .untried("\(error)\(need)"))
    }
  }

  /// The same in the calling thread's namespace, which must be private.
  static func probeHere() throws(SystemError) -> ProbeReport {
    let link = try ProbeLink()
    let path: NFTPath
    do { path = try NFTPath(seed: 0) } catch { return ProbeReport(all: .no(error.reason)) }
    var report = ProbeReport(all: .yes)
    report.label = try verdict(link, path, .label)
    report.ipv6CodePoint = try verdict(link, path, .ipv6CodePoint)
    report.ipv4CodePoint = try verdict(link, path, .ipv4CodePoint)
    return report
  }

  private enum Trial: UInt16 {
    case label = 4001
    case ipv6CodePoint, ipv4CodePoint
  }

  private static func verdict(
    _ link: borrowing ProbeLink, _ path: NFTPath, _ trial: Trial
  ) throws(SystemError) -> ProbeVerdict {
    let isIPv4 = trial == .ipv4CodePoint
    let key = FlowKey(
      local: Endpoint(isIPv4 ? ProbeLink.local4 : ProbeLink.local6, trial.rawValue),
      remote: Endpoint(isIPv4 ? ProbeLink.remote4 : ProbeLink.remote6, 9), transport: .udp)
    // Any mark will do whose every part differs from what the packet has by itself.
    guard let label = FlowLabel(0x1803c), let codePoint = CodePoint(46) else { return .untried("") }
    let mark =
      trial == .label
      ? Mark(label: LabelStamp(label, .flow))
      : Mark(codePoint: CodePointStamp(codePoint, onlyIfUnset: false))
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, key, mark))
    path.apply(&batch)
    if let failure = batch.changes[0].failure {
      return .no("the rule was refused: \(String(cString: strerror(failure.code)))")
    }
    guard let packet = try link.send(key) else {
      return .no("the rule loaded, but the packet never arrived")
    }
    let word = packet[..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let seenLabel = word & FlowLabel.mask
    let seenCodePoint = isIPv4 ? UInt32(packet[1] >> 2) : word >> 22 & 0x3f
    let isRight = trial == .label ? seenLabel == label.value : seenCodePoint == UInt32(codePoint.value)
    if isRight { return .yes }
    return .no(
      "the rule loaded, but the packet left with "
        + (trial == .label ? "flow label 0x\(String(seenLabel, radix: 16))" : "DSCP \(seenCodePoint)")
        + "; this kernel ignores the write, the tc path may work")
  }
}
