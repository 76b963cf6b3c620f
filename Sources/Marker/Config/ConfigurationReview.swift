import Firefly
import Flow

extension Configuration {
  /// What of the settings does not go together: what cannot be is thrown, what does nothing is warned of.
  ///
  /// - Throws: `ConfigurationError` where a file says it, else `PlanError`.
  mutating func review() throws {
    try reviewInline()
    let plan: Plan
    do throws(PlanError) {
      // Nothing was tried yet: this fails only for what no host can.
      plan = try settings.plan()
    } catch {
      guard let file, case .file(let line) = origin(of: "path") else { throw error }
      throw ConfigurationError(file, [YAMLProblem(SourceMark(line: line, column: 1), "path: \(error)")])
    }
    if settings.api.isOpenToAll {
      let address = settings.api.addresses.first { !$0.isLocal }
      let reason =
        "\(address.map { "\($0)" } ?? "") is reached from elsewhere: name who may, api.allow: [192.0.2.0/24], or a token, "
        + "api.tokenFile: /etc/marker/token"
      if let file, case .file(let line) = origin(of: "api.listen") {
        throw ConfigurationError(
          file, [YAMLProblem(SourceMark(line: line, column: 1), "api.listen: \(reason)")])
      }
      throw APIError(address: "api.listen", reason: reason)
    }
    if let address = settings.api.strayMetricsAddress {
      throw mistake(
        "metrics.listen",
        "\(address) is reached from elsewhere: name who may, metrics.allow: [192.0.2.0/24], or a token, "
          + "api.tokenFile: /etc/marker/token")
    }
    reviewListening()
    reviewRules()
    reviewFireflies()
    if settings.interfaces.isEmpty, !settings.inline.isOn {
      warn("interfaces", "no interface is named: packets are not marked, flows are announced only")
      return
    }
    reviewStamps()
    reviewMarkAll(plan)
    if settings.tcHook != nil, settings.path == .nft || settings.path == .xdp {
      warn("tc.hook", "tc.hook does nothing with path \(settings.path.rawValue)")
    }
  }

  private mutating func reviewFireflies() {
    if !settings.announcesToRemoteEnds {
      for path in ["fireflies.remotePort", "fireflies.privateRemoteEnds"] {
        unused(path, "fireflies.remoteEnds is false")
      }
      if settings.collectors.isEmpty {
        for path in ["publicAddresses", "stun.servers"] { unused(path, "no fireflies are sent") }
      }
    }
    if settings.enrichment == .none { unused("fireflies.skOps", "fireflies.enrichment is none") }
    for (local, name) in settings.publicAddresses where name.isPrivate {
      warn("publicAddresses", "\(local) is to be announced as \(name), which is private too")
    }
  }

  private mutating func reviewInline() throws {
    let inline = settings.inline
    guard inline.isOn else {
      for path in ["inline.engine", "inline.networks"] {
        unused(path, "inline.inside and inline.outside name no ports")
      }
      if inline.isHalf {
        let (said, missing) = inline.inside == nil ? ("outside", "inside") : ("inside", "outside")
        throw mistake(
          "inline.\(said)", "inline.\(missing) is missing: packets pass from the one port to the other")
      }
      return
    }
    if !settings.interfaces.isEmpty {
      let reason =
        "packets of other hosts are marked between two ports, so interfaces and discover have no place beside "
      throw mistake("inline.inside", reason + "inline; for this host's own packets run a second marker")
    }
    if inline.inside == inline.outside {
      throw mistake(
        "inline.outside",
        "inside and outside are both \(inline.outside ?? ""); they are two ports of a bridge")
    }
    if settings.path == .xdp || settings.path == .raw {
      unused("inline.engine", "path \(settings.path.rawValue) says it")
    }
    if settings.listen.isOn, inline.networks.isEmpty {
      warn(
        "listen.fireflies",
        "fireflies of others mark flows of the hosts inside only where inline.networks names their networks")
    }
  }

  /// An error at the line that says it, if one does.
  private func mistake(_ path: String, _ reason: String) -> ConfigurationError {
    guard let file, case .file(let line) = origin(of: path) else {
      return ConfigurationError(Setting.named(path)?.flag ?? path, reason)
    }
    return ConfigurationError(file, [YAMLProblem(SourceMark(line: line, column: 1), "\(path): \(reason)")])
  }

  private mutating func reviewListening() {
    let listen = settings.listen
    guard listen.isOn else {
      for path in ["listen.from", "listen.rate", "listen.relay"] {
        unused(path, "listen.fireflies names no address")
      }
      return
    }
    let isOpen = listen.addresses.contains { !$0.address.isLoopback }
    if isOpen, origin(of: "listen.from") == .builtIn {
      warn(
        "listen.fireflies",
        "listen.fireflies has an address that others reach, but listen.from names nobody: only this host is heard; "
          + "name the networks of those whose fireflies are to mark flows here")
    }
    if listen.senders.contains(where: { $0.length == 0 }) {
      warn(
        "listen.from",
        "listen.from lets everybody tag this host's flows: fireflies are not authenticated; name networks instead"
      )
    }
    if listen.relays, settings.collectors.isEmpty { unused("listen.relay", "there are no collectors") }
  }

  private mutating func reviewRules() {
    if settings.markAll == nil { unused("fireflies.markAll", "markAll is none") }
    let rules = settings.socketRules
    guard !rules.isEmpty else {
      for path in ["sockets.cgroup", "sockets.period"] { unused(path, "there are no rules") }
      return
    }
    // What is behind one that fits everything is never reached.
    if let last = settings.rules.firstIndex(where: \.fitsEverything), last + 1 < settings.rules.count {
      warn("rules", "rule \(last + 1) has no condition: those behind it do nothing")
    }
  }

  private mutating func reviewStamps() {
    let stampsCodePoints = settings.strategy == .dscp || settings.strategy == .auto
    let stampsLabels = settings.strategy == .label || settings.strategy == .auto
    let word = settings.strategy.rawValue
    if stampsCodePoints {
      for warning in settings.codePoints.warnings() { warn("dscp.map", "\(warning)") }
    } else {
      for path in ["dscp.preset", "dscp.map", "dscp.onlyIfUnset"] {
        unused(path, "strategy \(word) stamps no DSCP")
      }
    }
    if settings.strategy != .dscp { unused("dscp.ipv6", "it is for strategy dscp") }
    if !stampsLabels { unused("label.entropy", "strategy \(word) stamps no flow label") }
  }

  private mutating func reviewMarkAll(_ plan: Plan) {
    guard let tag = settings.markAll else {
      for path in ["markAllExcept.networks", "markAllExcept.ports"] { unused(path, "markAll is none") }
      return
    }
    let policy = settings.policy(plan)
    for isIPv4 in [false, true] where policy.decide(tag, isIPv4: isIPv4, entropy: 0) == .refused {
      warn(
        "markAll",
        "\(tag) has no mark on \(isIPv4 ? "IPv4" : "IPv6"): only flows with other tags are marked there")
    }
  }

  private mutating func unused(_ path: String, _ reason: String) {
    guard origin(of: path) != .builtIn else { return }
    warn(path, "\(path) does nothing: \(reason)")
  }

  /// At the line that says it, if one does.
  private mutating func warn(_ path: String, _ message: String) {
    var mark: SourceMark?
    if case .file(let line) = origin(of: path) { mark = SourceMark(line: line, column: 1) }
    warnings.append(Warning(mark: mark, message: message))
  }
}
