import BenchReport
import Testing

@Suite struct CommandTests {
  private static let page = BenchName.allCases.filter(\.isOnPage)

  @Test(
    arguments: [
      ([], .run(page, .named, details: false)), (["--details"], .run(page, .named, details: true)),
      (["--json", "x"], .run(page, .file("x"), details: false)),
      (["nft", "api"], .run([.api, .nft], .none, details: false)),
      (["restart"], .run([.restart], .none, details: false)),
      (["api", "--json", "x"], .run([.api], .file("x"), details: false)),
      (["compare", "a", "b"], .compare(old: "a", new: "b")),
      (["page", "a"], .page("a", .text(details: false))),
      (["page", "a", "--details"], .page("a", .text(details: true))),
      (["page", "--markdown", "a"], .page("a", .markdown)),
      (["page", "a", "--into", "d"], .page("a", .into("d"))), (["soak", "10"], .soak(minutes: 10)),
      (["inline", "--packets", "5"], .frames(packets: 5)),
      (["inline"], .run([.inline], .none, details: false)),
      (["hold", "accept", "1", "2"], .hold(["accept", "1", "2"])), (["--help"], .help),
    ] as [([String], BenchCommand)])
  func commands(arguments: [String], wanted: BenchCommand) throws {
    #expect(try BenchCommand(arguments) == wanted)
  }

  @Test func longOnesAreNotOnThePage() { #expect(!Self.page.contains(.restart)) }

  @Test(arguments: [
    (["pogram"], "no benchmark is called pogram; there are: program"), (["--jsn"], "no option --jsn"),
    (["--json"], "--json takes a file"), (["compare", "a"], "compare takes two files"),
    (["page"], "page takes one file"),
    (["page", "a", "b"], "page takes one file"), (["page", "a", "--markdown", "--details"], "at most one"),
    (["page", "a", "--into"], "--into takes a document"), (["soak", "0"], "soak takes a number"),
    (["soak"], "soak takes"),
    (["inline", "--packets", "x"], "--packets takes a number"),
  ])
  func mistakes(arguments: [String], why: String) {
    do {
      _ = try BenchCommand(arguments)
      Issue.record("it was taken")
    } catch {
      #expect(error.description.contains(why), "\(error)")
    }
  }
}
