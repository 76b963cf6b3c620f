import Flow
import Testing

@Suite struct CodePointMapTests {
  @Test("pool2: experiments 1…11 get experiment << 2 | 3, all others are refused")
  func pool2() throws {
    let expected: [Int: Int] = [
      1: 7, 2: 11, 3: 15, 4: 19, 5: 23, 6: 27, 7: 31, 8: 35, 9: 39, 10: 43, 11: 47,
    ]
    let map = CodePointMap(.pool2)
    for experiment in 0...1023 {
      for activity in [0, 1, 63] {
        let answer = map.answer(for: try SciTag(experiment: experiment, activity: activity))
        let codePoint = expected[experiment].flatMap { CodePoint($0) }
        #expect(answer == codePoint.map { .codePoint($0) } ?? .refused, "\(experiment)/\(activity)")
      }
    }
  }

  @Test func le() throws {
    let one = try #require(CodePoint(1))
    for experiment in 1...1023 {
      #expect(CodePointMap(.le).answer(for: SciTag(packed: UInt16(experiment << 6))) == .codePoint(one))
    }
    #expect(CodePointMap(.le).answer(for: SciTag(packed: 0)) == .refused)
  }

  @Test func none() {
    for experiment in 1...1023 {
      #expect(CodePointMap(.none).answer(for: SciTag(packed: UInt16(experiment << 6))) == .unmarked)
    }
  }

  @Test("every experiment can be mapped by hand to every code point")
  func byHand() throws {
    for experiment in [1, 2, 11, 12, 13, 14, 511, 1023] {
      for number in 0...63 {
        let map = try CodePointMap(.pool2, adding: "\(experiment)=\(number)")
        let codePoint = try #require(CodePoint(number))
        let tag = try SciTag(experiment: experiment, activity: 5)
        #expect(map.answer(for: tag) == .codePoint(codePoint))
      }
    }
  }

  @Test("the narrowest entry wins, then the default, then the preset")
  func precedence() throws {
    let map = try CodePointMap(.pool2, adding: "2=20,2/5=none,3/14=15")
    func answer(_ experiment: Int, _ activity: Int) throws -> CodePointMap.Answer {
      map.answer(for: try SciTag(experiment: experiment, activity: activity))
    }
    #expect(try answer(2, 4) == .codePoint(#require(CodePoint(20))))
    #expect(try answer(2, 5) == .unmarked)
    #expect(try answer(3, 14) == .codePoint(#require(CodePoint(15))))
    #expect(try answer(4, 1) == .codePoint(#require(CodePoint(19))))
    #expect(try answer(12, 1) == .refused)
    var withDefault = map
    try withDefault.add("default=none")
    #expect(withDefault.answer(for: try SciTag(experiment: 4, activity: 1)) == .unmarked)
    #expect(withDefault.answer(for: try SciTag(experiment: 12, activity: 1)) == .unmarked)
    #expect(withDefault.answer(for: try SciTag(experiment: 2, activity: 4)) == (try answer(2, 4)))
    #expect(withDefault.answer(for: try SciTag(experiment: 0, activity: 4)) == .refused)
  }

  @Test("the policy marks, leaves alone and refuses, on both families alike", arguments: [true, false])
  func policy(isIPv4: Bool) throws {
    let map = try CodePointMap(.pool2, adding: "3=none")
    let stamping = MarkPolicy.Stamping.codePoint(map, onlyIfUnset: true)
    let policy = MarkPolicy(ipv6: stamping, ipv4: stamping)
    func decide(_ experiment: Int) throws -> MarkPolicy.Decision {
      policy.decide(try SciTag(experiment: experiment, activity: 1), isIPv4: isIPv4, entropy: 7)
    }
    let atlas = CodePointStamp(try #require(CodePoint(11)), onlyIfUnset: true)
    #expect(try decide(2) == .mark(Mark(codePoint: atlas)))
    #expect(try decide(3) == .notStamped)
    #expect(try decide(12) == .refused)
  }
}
