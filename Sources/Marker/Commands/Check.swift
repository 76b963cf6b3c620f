import ArgumentParser

/// Says whether a configuration is right.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a configuration, marker's or flowd-go's, without touching anything.",
    discussion: """
      Prints every mistake with its line and column, and what would be right. Exits with 0 where the daemon would take \
      the configuration, warnings or not, and with 78 where it would not. Whether this host can do what it asks for says \
      `marker probe`.
      """)

  @Argument(help: "The file; \(Configuration.defaultFile) if none is named.")
  var file = Configuration.defaultFile

  func run() throws {
    var configuration = try Configuration(file: file)
    try configuration.review()
    for warning in configuration.warnings { print("warning: \(configuration.text(of: warning))") }
    let count = configuration.warnings.count
    print("\(file): right\(count == 0 ? "" : ", with \(count) warning\(count == 1 ? "" : "s")")")
  }
}
