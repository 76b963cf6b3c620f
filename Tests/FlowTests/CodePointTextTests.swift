import Flow
import Testing

@Suite struct CodePointTextTests {
  @Test("numbers, names and quotes mean the same")
  func spellings() throws {
    let plain = try CodePointMap(adding: "2=11,3/14=15,default=none")
    for text in [
      "atlas=11,cms/Analysis Input=15,default=none",
      " ATLAS = 11 , cms/\"analysis input\" = 15 , Default = None ",
      "'atlas'=11,'cms'/'Analysis Input'=15,default=none",
      "2=11,cms/14=15,default=none",
    ] {
      #expect(try CodePointMap(adding: text) == plain, "\(text)")
    }
    #expect(plain.experiments == [2: .codePoint(try #require(CodePoint(11)))])
    #expect(plain.tags == [try SciTag(experiment: 3, activity: 14): .codePoint(try #require(CodePoint(15)))])
    #expect(plain.fallback == CodePointMap.Target.none)
  }

  @Test("the example of docs/dscp.md does what the text there says")
  func documented() throws {
    let map = try CodePointMap(adding: "2=11,3/14=15,cms/\"Cache\"=none,default=none")
    func answer(_ experiment: String, _ activity: String) throws -> CodePointMap.Answer {
      map.answer(for: try Registry.embedded.tag(experiment: experiment, activity: activity))
    }
    #expect(try answer("cms", "Cache") == .unmarked)
    #expect(try answer("cms", "Analysis Input") == .codePoint(#require(CodePoint(15))))
    #expect(try answer("lhcb", "default") == .unmarked)
  }

  @Test(
    "each error holds the entry that is wrong",
    arguments: [
      ("", .notAPair("")),
      ("2=11,", .notAPair("")),
      ("2=11,3", .notAPair("3")),
      ("=11", .notAPair("=11")),
      ("2=", .notAPair("2=")),
      ("2=11,3=64", .notACodePoint("3=64", "64")),
      ("2=-1", .notACodePoint("2=-1", "-1")),
      ("2=0x0b", .notACodePoint("2=0x0b", "0x0b")),
      ("2=ef", .notACodePoint("2=ef", "ef")),
      ("1024=11", .notATag("1024=11", .experimentOutOfRange(1024))),
      ("2/64=11", .notATag("2/64=11", .activityOutOfRange(64))),
      ("lofar=11", .notATag("lofar=11", .unknownExperiment("lofar"))),
      ("cms/Nothing=11", .notATag("cms/Nothing=11", .unknownActivity("Nothing", experiment: 3))),
      ("196664=11", .notATag("196664=11", .experimentOutOfRange(196_664))),
      ("0=11", .namesNoExperiment("0=11")),
      ("0/5=11", .namesNoExperiment("0/5=11")),
      ("2=11,atlas=12", .mappedTwice("atlas=12")),
      ("3/14=11,3/14=12", .mappedTwice("3/14=12")),
      ("default=1,default=2", .mappedTwice("default=2")),
    ] as [(String, CodePointMapError)])
  func errors(text: String, expected: CodePointMapError) {
    #expect(throws: expected) { try CodePointMap(adding: text) }
  }

  @Test func errorsSayWhatWouldBeRight() {
    #expect(
      "\(CodePointMapError.notACodePoint("3=64", "64"))"
        == "\"3=64\": \"64\" is not a code point: write a number from 0 to 63, or none")
    #expect("\(CodePointMapError.notAPair("3"))".contains("2=11,3/14=15,default=none"))
    #expect(
      "\(CodePointMapError.notATag("196664=1", .experimentOutOfRange(196_664)))".contains("did you mean"))
  }
}
