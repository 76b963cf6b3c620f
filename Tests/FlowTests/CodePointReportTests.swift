import Flow
import Testing

@Suite struct CodePointReportTests {
  private func codePoints(_ numbers: [Int]) -> [CodePoint] { numbers.compactMap { CodePoint($0) } }

  @Test("pool2 on the registry: atlas and cms have precedence 1, and bleaching leaves 3 and 7")
  func pool2() throws {
    let warnings = CodePointMap(.pool2).warnings()
    let three = try #require(CodePoint(3))
    let seven = try #require(CodePoint(7))
    #expect(
      warnings == [
        .precedence1(codePoints([11])[0]), .precedence1(codePoints([15])[0]),
        .bleached(codePoints([11, 19, 27, 35, 43]), to: three),
        .bleached(codePoints([7, 15, 23, 31, 39, 47]), to: seven),
      ])
  }

  @Test("every code point is warned of exactly where it must be")
  func range() throws {
    for number in 0...63 {
      let map = try CodePointMap(.none, adding: "2=\(number)")
      let codePoint = try #require(CodePoint(number))
      let warnings = map.warnings()
      #expect(warnings.contains(.precedence1(codePoint)) == (8...15).contains(number))
      #expect(warnings.contains(.networkControl(codePoint)) == (number >= 48))
      let left = try #require(CodePoint(number & 7))
      #expect(warnings.contains(.bleached([codePoint], to: left)) == (number > 7))
    }
  }

  @Test func warningsAreOneLine() throws {
    for warning in try CodePointMap(.pool2, adding: "12=51").warnings() {
      #expect(!"\(warning)".contains("\n"))
      #expect("\(warning)".contains("DSCP"))
    }
  }

  @Test("reading a code point back gives every tag that it was given for, and no other")
  func inverse() throws {
    let maps = [
      CodePointMap(.pool2), CodePointMap(.le), CodePointMap(.none),
      try CodePointMap(.pool2, adding: "2=11,3/14=15,3=19,12=51,2/7=none"),
      try CodePointMap(.pool2, adding: "2=11,default=40"),
    ]
    for map in maps {
      for experiment in 1...20 {
        for activity in [1, 7, 14] {
          let tag = try SciTag(experiment: experiment, activity: activity)
          for number in 0...63 {
            let codePoint = try #require(CodePoint(number))
            let given = map.answer(for: tag) == .codePoint(codePoint)
            let meanings = map.meanings(of: codePoint)
            let mapped = map.tags[tag] != nil
            let hasExperiment = map.experiments[tag.experiment] != nil
            let read =
              meanings.contains(.tag(tag))
              || !mapped && meanings.contains(.experiment(tag.experiment))
              || !mapped && !hasExperiment && meanings.contains(.anyOther)
            #expect(read == given, "\(tag) \(number)")
          }
        }
      }
    }
  }
}
