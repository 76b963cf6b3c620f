extension Page {
  /// Puts the tables into a document's blocks.
  ///
  /// - Parameter source: the path of the page's file, which the document names.
  public func fill(document path: String, madeFrom source: String) throws(PageError) {
    let document = TextFile(path: path)
    let command = "marker-bench page \(source) --into \(path)"
    try document.write(DocumentBlocks.fill(document.read(), of: path, from: self, by: command))
  }
}

/// The parts of a document that are made from a page of figures, each between two lines.
public enum DocumentBlocks {
  /// The block of the machine's facts.
  public static let machine = "machine"

  static func begin(_ name: String) -> String { "<!-- figures: \(name) -->" }
  static let end = "<!-- end of figures -->"

  /// The names of the blocks that a document has.
  public static func names(in text: String) -> [String] {
    text.split(separator: "\n").filter { $0.hasPrefix("<!-- figures: ") && $0.hasSuffix(" -->") }.map {
      String($0.dropFirst("<!-- figures: ".count).dropLast(" -->".count))
    }
  }

  /// A document with the figures of a page in its blocks. What the page has no figures of stays as it is.
  ///
  /// - Parameters:
  ///   - path: what errors call the document.
  ///   - command: what the document says it was made by.
  /// - Throws: `.noBlock` where figures have no place, or a place has a name that no benchmark has; `.openBlock`.
  public static func fill(_ text: String, of path: String, from page: Page, by command: String)
    throws(PageError) -> String
  {
    var text = try filled(text, of: path, machine, "Made by `\(command)`:\n\n" + page.markdownFacts)
    let benches = page.figures.map(\.bench) + page.failures.map(\.bench)
    for bench in BenchName.allCases where benches.contains(bench) {
      text = try filled(text, of: path, bench.rawValue, page.markdown(bench))
    }
    for name in names(in: text) where name != machine && BenchName(rawValue: name) == nil {
      throw .noBlock(path, name)
    }
    return text
  }

  private static func filled(
    _ text: String, of path: String, _ name: String, _ content: String
  ) throws(PageError) -> String {
    guard let start = text.firstRange(of: begin(name) + "\n") else { throw .noBlock(path, name) }
    let rest = text[start.upperBound...]
    guard let stop = rest.firstRange(of: end),
      !rest[..<stop.lowerBound].contains("<!-- figures: ")
    else { throw .openBlock(path, name) }
    return text[..<start.upperBound] + "\n" + content + "\n" + text[stop.lowerBound...]
  }
}
