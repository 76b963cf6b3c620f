import Firefly
import Flow

extension Configuration {
  /// flowd-go tells of flows that go on only while it enriches, each time that an enricher has news. Without enrichers
  /// it enriches nothing.
  mutating func takeEnrichment(_ said: FlowdGoConfiguration, _ reading: Reading) {
    guard settings.announcesToRemoteEnds else { return }
    guard said.enriches else {
      settings.ongoingPeriod = nil
      set(origin(reading, "backends.firefly.enrich"), of: "fireflies.period")
      for path in ["backends.firefly.enrichmentMode", "enrichers.period"] {
        guard let mark = reading.places[path] else { continue }
        warnings.append(
          Warning(mark: mark, message: "\(path) does nothing here: backends.firefly.enrich is not true"))
      }
      return
    }
    settings.enrichment = said.enrichment
    set(
      origin(reading, "backends.firefly.enrichmentMode", "backends.firefly.enrich"),
      of: "fireflies.enrichment")
    if let mark = reading.places["enrichers.skops"] {
      settings.skOps = reading.places["enrichers.netlink"] == nil ? .instead : .besides
      set(.file(line: mark.line), of: "fireflies.skOps")
    }
    guard let mark = reading.places["enrichers.period"] ?? reading.places["enrichers"] else { return }
    settings.ongoingPeriod = (said.enrichmentPeriod + 999) / 1000 * 1_000_000
    set(.file(line: mark.line), of: "fireflies.period")
  }

  /// flowd-go's one example of a manual mapping has a public address before the colon and a private one behind it. As
  /// only a private address can be one that NAT hides, that one is the local one, on whichever side it stands; where
  /// both or none are private, the order is the example's.
  mutating func takePublicAddresses(
    _ said: FlowdGoConfiguration, _ reading: Reading, _ problems: inout [YAMLProblem]
  ) {
    guard settings.announcesToRemoteEnds else { return }
    settings.stunServers = said.stunServers
    if let mark = reading.places["backends.firefly.stun.stunServers"] {
      set(.file(line: mark.line), of: "stun.servers")
    }
    guard let mark = reading.places["backends.firefly.stun.manualMapping"] else { return }
    for (left, right) in said.addressPairs.sorted(by: { "\($0.key)" < "\($1.key)" }) {
      let isReversed = left.isPrivate && !right.isPrivate
      let (local, name) = isReversed ? (left, right) : (right, left)
      if left.isPrivate == right.isPrivate {
        warnings.append(
          Warning(
            mark: mark,
            message:
              "backends.firefly.stun.manualMapping is read as: the local address \(local) is announced as "
              + "\(name)"))
      }
      guard settings.publicAddresses.updateValue(name, forKey: local) == nil else {
        problems.append(
          YAMLProblem(mark, "backends.firefly.stun.manualMapping: \(local) is announced by two addresses"))
        continue
      }
    }
    set(.file(line: mark.line), of: "publicAddresses")
  }
}
