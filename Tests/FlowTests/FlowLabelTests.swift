import Flow
import Testing

/// The vectors of facts.md §2: experiment, activity, SciTag, label without entropy, label with all of it.
private let vectors: [(Int, Int, UInt16, UInt32, UInt32)] = [
  (1, 1, 65, 0x20004, 0xe0107),
  (2, 1, 129, 0x10004, 0xd0107),
  (2, 2, 130, 0x10008, 0xd010b),
  (2, 16, 144, 0x10040, 0xd0143),
  (3, 14, 206, 0x30038, 0xf013b),
  (3, 24, 216, 0x30060, 0xf0163),
  (6, 15, 399, 0x1803c, 0xd813f),
  (14, 1, 897, 0x1c004, 0xdc107),
  (16, 14, 1038, 0x02038, 0xc213b),
  (256, 1, 16385, 0x00204, 0xc0307),
  (511, 63, 32767, 0x3fefc, 0xfffff),
]

@Suite struct FlowLabelTests {
  @Test(arguments: vectors)
  func vector(experiment: Int, activity: Int, packed: UInt16, plain: UInt32, full: UInt32) throws {
    let tag = try SciTag(experiment: experiment, activity: activity)
    #expect(tag.packed == packed)
    #expect(FlowLabel(tag)?.value == plain)
    #expect(FlowLabel(tag, entropy: .max)?.value == full)
    #expect(FlowLabel(Int(full))?.sciTag == tag)
  }

  @Test func everyTagThatFitsComesBack() throws {
    for experiment in 1...511 {
      for activity in 0...63 {
        let tag = try SciTag(experiment: experiment, activity: activity)
        let label = try #require(
          FlowLabel(tag, entropy: UInt32(truncatingIfNeeded: experiment &* 0x9e37_79b1)))
        #expect(label.sciTag == tag)
        #expect(label.value <= FlowLabel.mask)
      }
    }
  }

  @Test(arguments: [0, 512, 1023])
  func experimentsWithoutLabel(experiment: Int) throws {
    #expect(FlowLabel(try SciTag(experiment: experiment, activity: 1)) == nil)
  }

  @Test(arguments: [-1, 0x10_0000])
  func numbersThatAreNoLabel(number: Int) { #expect(FlowLabel(number) == nil) }

  @Test func text() { #expect(FlowLabel(0x02038)?.description == "0x02038") }
}

@Suite struct SciTagTests {
  @Test func packedIsExperimentAndActivity() throws {
    #expect(SciTag(packed: 206) == (try SciTag(experiment: 3, activity: 14)))
    #expect(SciTag(packed: .max) == (try SciTag(experiment: 1023, activity: 63)))
    #expect(SciTag(packed: 64).namesExperiment)
    #expect(!SciTag(packed: 0).namesExperiment)
  }

  @Test(arguments: [1024, -1, 70_000])
  func experimentOutOfRange(number: Int) {
    #expect(throws: SciTagError.experimentOutOfRange(number)) { try SciTag(experiment: number, activity: 1) }
  }

  @Test(arguments: [64, -1])
  func activityOutOfRange(number: Int) {
    #expect(throws: SciTagError.activityOutOfRange(number)) { try SciTag(experiment: 1, activity: number) }
  }

  @Test func aPastedWireLabelIsRecognised() {
    #expect(
      SciTagError.experimentOutOfRange(196_664).description
        == "196664 is the flow label of cms/Analysis Input (206); did you mean experiment 3, activity 14?")
  }
}
