import Foundation
import Testing

@testable import BenchReport

@Suite struct PageTests {
  @Test func jsonReadsAsItself() throws {
    var page = try pageOf(
      figure([3.125, 2.5, 4], goal: 5), figure("lost", [0], "", goal: 0, bench: .listener),
      figure("rate", [0.1, 0.30000000000000004], "/s", .more, isDetail: true))
    page.fail(.api, PageError.notEncoded("why"))
    let again = try Page(json: page.json(), of: "x.json")
    #expect(again == page)
    #expect(again.figures[2].isDetail)
    #expect(again.failures.first?.bench == .api)
  }

  /// Kept pages of this form are to be readable as long as figures have these fields.
  @Test func jsonOfAFigure() throws {
    let text = try pageOf(figure([3, 4], goal: 5)).json()
    for part in [
      "\"bench\" : \"program\"", "\"name\" : \"not matching\"", "\"unit\" : \"ns\"", "\"better\" : \"less\"",
      "\"goal\" : 5", "\"processor\" : \"A 1\"", "\"commit\" : \"abc1234\"",
    ] {
      #expect(text.contains(part), "\(part)")
    }
    #expect(!text.contains("detail"))
  }

  @Test func figuresWithoutValueAndTwiceAreRefused() throws {
    #expect(throws: PageError.noValues(.program, "not matching")) { try pageOf(figure([])) }
    #expect(throws: PageError.noValues(.program, "not matching")) { try pageOf(figure([1, .nan])) }
    #expect(throws: PageError.twice(.program, "not matching")) { try pageOf(figure([1]), figure([2])) }
    _ = try pageOf(figure([1]), figure([1], bench: .traffic))
  }

  @Test func filesThatCannotBeRead() throws {
    let none = PageError.unreadable("/nonexistent/x.json", "No such file or directory")
    #expect(throws: none) { try Page(contentsOf: "/nonexistent/x.json") }
    #expect(throws: PageError.unreadable("/", "Is a directory")) { try Page(contentsOf: "/") }
    #expect(throws: PageError.self) { try pageOf(figure([1])).write(to: "/proc/x/y.json") }
  }

  @Test(arguments: [
    ("", "it is not JSON"), ("{", "it is not JSON"), ("{}", "no \"machine\""),
  ])
  func textThatIsNoPage(text: String, why: String) {
    #expect(throws: PageError.invalid("x.json", why)) { try Page(json: text, of: "x.json") }
  }

  @Test func aFaultyFigureIsNamed() throws {
    let text = try pageOf(figure([1], goal: 5)).json()
    func error(_ old: String, _ new: String) throws -> String {
      let changed = text.replacing(old, with: new)
      try #require(changed != text, "\(old)")
      do {
        _ = try Page(json: changed, of: "x.json")
        return "none"
      } catch {
        return "\(error)"
      }
    }
    #expect(try error("\"goal\" : 5", "\"goal\" : \"5\"").contains("figures [0] goal"))
    #expect(try error("\"program\"", "\"other\"").contains("figures [0] bench"))
    #expect(try error("\"unit\"", "\"unity\"").contains("no \"unit\" in figures [0]"))
    #expect(try error("\"less\"", "\"lesser\"").contains("x.json is not a page of figures"))
  }

  @Test func aFileReadsAsItself() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("marker-\(UUID())")
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("of/a/run.json").path
    let page = try pageOf(figure([1, 2, 3]))
    try page.write(to: path)
    #expect(try Page(contentsOf: path) == page)
  }

  @Test func thePageHasALineForEachFigure() throws {
    let page = try pageOf(
      figure([3, 4, 3.5], goal: 5), figure("seldom", [1], isDetail: true), figure("other", [6.5], goal: 5),
      figure([7], bench: .traffic))
    let lines = page.text().split(separator: "\n").map(String.init)
    #expect(lines[0] == "marker bench, 2026-11-26T06:31:00Z, commit abc1234")
    #expect(lines[1] == "A 1, 4 processors, x86_64, virtual machine")
    #expect(lines[2] == "Linux 6.12.1, Swift 6.3.1, load at the start 0.25 0.50 1.00")
    #expect(lines[4] == "program: one packet")
    #expect(words(lines[5]) == "not matching 3.50 ns 3.00 to 4.00 (3) <= 5 met")
    #expect(words(lines[6]) == "other 6.50 ns once <= 5 short by 30 %")
    #expect(lines[7] == "traffic: one packet")
    #expect(lines.last == "1 of 2 goals met")
    #expect(lines.count == 10)
    #expect(page.text(details: true).contains("seldom"))
  }

  @Test func aBusyMachineIsSaid() throws {
    #expect(!machine(load: [1, 0, 0]).isBusy)
    #expect(try pageOf(figure([1]), machine: machine(load: [1.01, 0, 0])).text().contains("BUSY"))
  }

  private func words(_ line: String) -> String { line.split(separator: " ").joined(separator: " ") }
}
