import Foundation
import Testing

@testable import BenchReport

@Suite struct DocumentTests {
  private let document = """
    # Title
    <!-- figures: machine -->
    <!-- end of figures -->
    Between.
    <!-- figures: program -->
    old
    <!-- end of figures -->
    <!-- figures: api -->
    kept
    <!-- end of figures -->

    """

  @Test func blocksAreReplacedAndTheRestStays() throws {
    let text = try DocumentBlocks.fill(
      document, of: "d.md", from: pageOf(figure([3, 4, 3.5], goal: 5)), by: "a command")
    #expect(
      text.hasPrefix("# Title\n<!-- figures: machine -->\n\nMade by `a command`:\n\n- marker bench, 2026"))
    #expect(
      text.contains(
        """
        Between.
        <!-- figures: program -->

        **one packet**

        | figure | median | least to most (rounds) | goal | |
        |---|---|---|---|---|
        | not matching | 3.50 ns | 3.00 to 4.00 (3) | <= 5 | met |

        <!-- end of figures -->
        <!-- figures: api -->
        kept
        <!-- end of figures -->

        """))
    #expect(!text.contains("old"))
  }

  @Test func fillingTwiceIsFillingOnce() throws {
    let page = try pageOf(figure([3]))
    let once = try DocumentBlocks.fill(document, of: "d.md", from: page, by: "a command")
    #expect(try DocumentBlocks.fill(once, of: "d.md", from: page, by: "a command") == once)
  }

  @Test func placesThatLackAreNamed() throws {
    let page = try pageOf(figure([3], bench: .traffic))
    #expect(throws: PageError.noBlock("d.md", "traffic")) {
      try DocumentBlocks.fill(document, of: "d.md", from: page, by: "")
    }
    let open = document.replacing("old\n<!-- end of figures -->\n", with: "")
    #expect(throws: PageError.openBlock("d.md", "program")) {
      try DocumentBlocks.fill(open, of: "d.md", from: try pageOf(figure([3])), by: "")
    }
    #expect(throws: PageError.noBlock("d.md", "programme")) {
      try DocumentBlocks.fill(
        document + "<!-- figures: programme -->\n<!-- end of figures -->\n", of: "d.md",
        from: try pageOf(figure([3])), by: "")
    }
  }

  /// docs/performance.md has the figures of every benchmark of the page.
  @Test func theDocumentationHasThemAll() throws {
    let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let text = try String(contentsOfFile: root + "/docs/performance.md", encoding: .utf8)
    let wanted = [DocumentBlocks.machine] + BenchName.allCases.filter(\.isOnPage).map(\.rawValue)
    #expect(Set(DocumentBlocks.names(in: text)) == Set(wanted))
    #expect(DocumentBlocks.names(in: text).count == wanted.count)
    for name in wanted {
      let block = text.split(separator: DocumentBlocks.begin(name)).last?.split(separator: DocumentBlocks.end)
        .first
      #expect(block?.contains(name == DocumentBlocks.machine ? "Made by" : "| figure |") == true, "\(name)")
    }
  }
}
