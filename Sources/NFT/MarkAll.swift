internal import Flow

/// The rules for packets that no flow matches.
enum MarkAll {
  /// The bits of a label that hold entropy, each with a seed of its own for the hash that fills it.
  private static let entropyBits: [UInt32] = [0x80000, 0x40000, 0x100, 0x2, 0x1]

  /// Fills the chain that packets come to whose flow was not found.
  static func add(_ scope: ScopeMarks, seed: UInt32, _ batch: inout Batch) {
    ExcludedRanges.add(scope.exclusions, &batch)
    if let stamp = scope.ipv6?.label {
      batch.addChain(Ruleset.entropy)
      for (index, bit) in entropyBits.enumerated() {
        batch.addRule(
          Ruleset.entropy,
          Ruleset.tuple(isIPv4: false, from: 4) + [
            .hash(
              Register(4), count: 44, modulus: 2, seed: seed &+ UInt32(index), into: Stamping.a),
            .equal(Stamping.a, UInt32(1).bytes),
          ] + Stamping.writeLabel(keeping: FlowLabel.mask & ~bit, bit))
      }
      batch.addRule(Ruleset.rest, Stamping.hasNoLabel + [.verdict(.jump(Ruleset.entropy))])
      batch.addRule(
        Ruleset.rest,
        Stamping.isIPv6
          + Stamping.writeLabel(
            keeping: FlowLabel.entropyMask, stamp.label.value & ~FlowLabel.entropyMask))
    }
    if let stamp = scope.ipv6?.codePoint {
      batch.addRule(Ruleset.rest, Stamping.codePoint(stamp, isIPv4: false))
    }
    if let stamp = scope.ipv4?.codePoint {
      batch.addRule(Ruleset.rest, Stamping.codePoint(stamp, isIPv4: true))
    }
  }

  static func remove(_ scope: ScopeMarks, _ batch: inout Batch) {
    batch.deleteRules(of: Ruleset.rest)
    ExcludedRanges.remove(scope.exclusions, &batch)
    if scope.ipv6?.label != nil { batch.deleteChain(Ruleset.entropy) }
  }
}
