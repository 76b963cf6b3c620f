import Flow
import Glibc
import Lab
import Testing

@testable import Marker

/// What texts mean.
@Suite struct DecodingTests {
  private func read(_ text: String, as kind: Decoding.Kind? = nil) throws -> [String] {
    try Decoding(names: MarkNames(.embedded, CodePointMap()), map: CodePointMap(), kind: kind).readings(text)
      .map(\.text)
  }

  @Test func labels() throws {
    let said = "flow label 0xb0138: cms/Analysis Input (experiment 3, activity 14, entropy 0x80100)"
    #expect(try read("0xb0138") == [said])
    #expect(try read("721208") == [said])
    #expect(try read("1011 0000 0001 0011 1000") == [said])
    #expect(try read("0x9f3a1").first?.contains("no such experiment is registered") == true)
    #expect(try read("0x0", as: .label).first?.contains("no mark") == true)
  }

  /// 206 is a label, a SciTag, and no DSCP.
  @Test func numbersThatAreSeveralThings() throws {
    let readings = try read("206")
    #expect(
      readings.count == 2 && readings[1].contains("cms/Analysis Input (experiment 3, activity 14)"),
      "\(readings)")
    #expect(
      readings[1].contains("0x30038, with entropy up to 0xf013b") && readings[1].contains("1e 03 00 03 0e"))
    #expect(try read("15", as: .dscp) == ["DSCP 15: cms"])
    #expect(try read("15").count == 3)
  }

  @Test(arguments: [
    "3/14", "3.14", "cms/Analysis Input", "cms.analysis input", "cms/\"Analysis Input\"", " 3/14\n",
  ])
  func tags(text: String) throws {
    let readings = try read(text)
    #expect(
      readings.count == 1 && readings[0].contains("cms/Analysis Input")
        && readings[0].contains("  SciTag      206"))
  }

  @Test func tagsWithoutLabel() throws {
    #expect(try read("600/1").first?.contains("none: a label holds experiments up to 511") == true)
    #expect(try read("0/0").first?.contains("never marked") == true)
  }

  @Test func refusalsSayWhy() throws {
    for (text, reason) in [
      ("0x100000", "a flow label has 20 bits"), ("hello", "experiment/activity"),
      ("alas/1", "no experiment is called"),
      ("3/64", "activity 64 is out of range"), ("{\"a\":1}", "flow-lifecycle.state is missing"),
      ("", "a DSCP is a number"),
    ] {
      let refusal = #expect(throws: Decoding.Refusal.self) { try read(text) }
      #expect(refusal?.description.contains(reason) == true, "\(text): \(refusal.map { "\($0)" } ?? "")")
    }
    #expect(throws: Decoding.Refusal.self) { try read("206", as: .dscp) }
  }

  /// The fireflies of all peers.
  @Test(arguments: ["dcache-end.txt", "xrootd-end.txt", "dcache-start-port0.txt", "flowd-sample.txt"])
  func fireflies(name: String) throws {
    let folder =
      "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/") + "/Fixtures/fireflies"
    let readings = try read(try shell("cat \(folder)/\(name)"))
    #expect(readings.count == 1 && readings[0].hasPrefix("firefly: "), "\(readings)")
  }
}
