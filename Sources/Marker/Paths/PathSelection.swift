import Flow
import Linux
import Logging
import NFT
import XDP

/// What is stamped into packets.
enum Strategy: String, Sendable, CaseIterable {
  case label, dscp
}

/// Which path the operator wants.
enum PathChoice: String, Sendable, CaseIterable {
  case auto, tc, nft
}

/// No path works for what was asked.
struct NoPathError: Error, CustomStringConvertible {
  /// Each path that was tried, and why it does not work.
  let reasons: [String]
  var description: String { reasons.joined(separator: "; ") }
}

/// Finds the path that works here: the one that was asked for, or the first in the strategy's order of preference.
struct PathSelection {
  let settings: Settings
  let interfaces: [Interface]
  let log: Logger

  /// The label by eBPF, which costs other packets nothing; DSCP by nftables, which every host has.
  private var preference: [PathKind] {
    switch (settings.path, settings.strategy) {
    case (.tc, _): [.tc]
    case (.nft, _): [.nft]
    case (.auto, .label): [.tc, .nft]
    case (.auto, .dscp): [.nft, .tc]
    }
  }

  /// - Parameter flows: those that are marked by other paths until now.
  func keeper(flows: NFTPath.Flows = { _ in }) throws -> any PathKeeper {
    var reasons: [String] = []
    for kind in preference {
      do {
        if let reason = reasons.last {
          log.warning("trying another path", metadata: ["instead": "\(reason)"])
        }
        switch kind {
        case .tc:
          return try TCKeeper(
            interfaces, maxFlows: settings.limits.maxFlows, hook: settings.tcHook, log: log)
        case .nft:
          try checkNFT()
          return try NFTKeeper(interfaces, maxFlows: settings.limits.maxFlows, flows: flows, log: log)
        }
      } catch {
        if case BPFError.load(_, let details) = error, !details.isEmpty { log.debug("\(details)") }
        reasons.append(error is PathError ? "\(error)" : "\(kind.rawValue): \(error)")
      }
    }
    throw NoPathError(reasons: reasons)
  }

  /// Rules may load and do nothing, so the path is tried on a packet first.
  private func checkNFT() throws(PathError) {
    let report = NFTPath.probe()
    switch settings.strategy == .label ? report.label : report.ipv4CodePoint {
    case .yes: return
    case .no(let reason): throw PathError(.nft, reason)
    case .untried(let reason):
      log.notice("whether nft marks here could not be tried beforehand", metadata: ["reason": "\(reason)"])
    }
  }
}
