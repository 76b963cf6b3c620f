internal import Flow

/// The rules for packets that no flow matches.
enum MarkAll {
  /// The bits of a label that hold entropy, each with a seed of its own for the hash that fills it.
  private static let entropyBits: [UInt32] = [0x80000, 0x40000, 0x100, 0x2, 0x1]

  /// Sends packets whose flow was not found to the rules for the rest.
  static func add(_ scope: ScopeMarks, seed: UInt32, _ batch: inout Batch) {
    batch.addChain(Ruleset.rest)
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
    // The packet mark is still 0 where no map had the packet's flow.
    batch.add([Element(key: UInt32(0).bytes, data: .verdict(.goto(Ruleset.rest)))], to: Ruleset.marks)
  }

  static func remove(_ scope: ScopeMarks, _ batch: inout Batch) {
    batch.delete([Element(key: UInt32(0).bytes)], from: Ruleset.marks)
    batch.deleteChain(Ruleset.rest)
    if scope.ipv6?.label != nil { batch.deleteChain(Ruleset.entropy) }
  }
}
