import Flow
import Testing

@Suite struct TagOptionTests {
  /// Experiment, activity, and the header in front of TCP.
  @Test(
    arguments: [
      (1, 0, [6, 0, 0x1e, 3, 0, 1, 0, 0]), (3, 14, [6, 0, 0x1e, 3, 0, 3, 14, 0]),
      (511, 63, [6, 0, 0x1e, 3, 1, 0xff, 63, 0]),
      // What no flow label holds.
      (512, 1, [6, 0, 0x1e, 3, 2, 0, 1, 0]), (1023, 63, [6, 0, 0x1e, 3, 3, 0xff, 63, 0]),
    ] as [(Int, Int, [UInt8])])
  func header(experiment: Int, activity: Int, bytes: [UInt8]) throws {
    let tag = try SciTag(experiment: experiment, activity: activity)
    let option = try #require(TagOption(tag))
    #expect(option.header(next: 6) == bytes)
    #expect(option.header(next: 6).count == TagOption.headerLength)
    #expect(TagOption(header: bytes, .numbers) == option)
  }

  @Test func aTagWithoutExperimentHasNone() throws {
    #expect(TagOption(SciTag(packed: 0)) == nil)
    #expect(TagOption(SciTag(packed: 63)) == nil)
  }

  /// Headers as each generation wrote them for cms/Analysis Input, 3/14, label 0x30038.
  @Test(
    arguments: [
      (TagOption.Generation.numbers, [17, 0, 0x1e, 3, 0x00, 0x03, 0x0e, 0]),
      (.label, [17, 0, 0x1e, 3, 0x03, 0x00, 0x38, 0]),
      // Its entropy bits are no part of the tag.
      (.label, [17, 0, 0x1e, 3, 0x0f, 0x01, 0x3b, 0]),
      (.wideLabel, [17, 0, 0x1f, 4, 0x00, 0x03, 0x00, 0x38]),
      (.wideLabel, [17, 0, 0x1f, 4, 0x00, 0x0f, 0x01, 0x3b]),
    ] as [(TagOption.Generation, [UInt8])])
  func generations(generation: TagOption.Generation, bytes: [UInt8]) throws {
    #expect(TagOption(header: bytes, generation)?.tag == SciTag(packed: 206))
    #expect(
      TagOption.readings(ofHeader: bytes).contains { $0 == generation && $1.tag == SciTag(packed: 206) })
  }

  @Test func readingsThatAreOne() {
    // Activity 0x38 with experiment 0x300 and label 0x30038 are the same bytes.
    let both = TagOption.readings(ofHeader: [6, 0, 0x1e, 3, 0x03, 0x00, 0x38, 0])
    #expect(both.map(\.0) == [.numbers, .label])
    #expect(both.map(\.1.tag.experiment) == [768, 3])
    // Activity 0x44 does not exist.
    #expect(TagOption.readings(ofHeader: [6, 0, 0x1e, 3, 0x01, 0x00, 0x44, 0]).map(\.0) == [.label])
  }

  @Test(
    arguments: [
      [], [6, 0, 0x1e, 3, 0, 3, 14],  // cut
      [6, 0, 5, 2, 0, 0, 1, 0],  // router alert
      [6, 0, 0x1e, 4, 0, 3, 14, 0], [6, 0, 0x1f, 3, 0, 3, 14, 0], [6, 0, 1, 4, 0, 0, 0, 0],
      // More than 20 bits, and more than ten of experiment.
      [6, 0, 0x1e, 3, 0x10, 0, 1, 0], [6, 0, 0x1f, 4, 1, 0, 0, 4],
      // No experiment.
      [6, 0, 0x1e, 3, 0, 0, 1, 0], [6, 0, 0x1f, 4, 0, 0, 1, 3],
    ] as [[UInt8]])
  func others(bytes: [UInt8]) {
    #expect(TagOption.readings(ofHeader: bytes).isEmpty)
  }

  @Test func thePolicyInsertsOnIPv6Only() throws {
    let policy = MarkPolicy(ipv6: .extensionHeaders(.destination), ipv4: .extensionHeaders(.destination))
    let tag = try SciTag(experiment: 1023, activity: 2)
    let option = try #require(TagOption(tag))
    #expect(
      policy.decide(tag, isIPv4: false, entropy: 0)
        == .mark(Mark(headers: HeaderStamp(option, .destination))))
    #expect(policy.decide(tag, isIPv4: true, entropy: 0) == .notStamped)
    #expect(policy.decide(SciTag(packed: 0), isIPv4: false, entropy: 0) == .refused)
  }

  @Test func lengths() {
    #expect(ExtensionHeaders.allCases.map(\.length) == [8, 8, 16])
  }
}
