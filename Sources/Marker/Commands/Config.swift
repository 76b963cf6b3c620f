import ArgumentParser

/// Shows configurations.
struct Config: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is configured, or translate flowd-go's configuration.",
    subcommands: [Show.self, Convert.self])

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print every setting in effect, and where it comes from.",
      discussion: "Takes the options of `marker run`, and shows what it would do with them.")

    @OptionGroup var options: ConfigurationOptions

    func run() throws {
      let configuration = try options.configuration()
      Config.warn(of: configuration)
      print(configuration.text, terminator: "")
    }
  }

  struct Convert: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a configuration of flowd-go's as marker's own.",
      discussion: """
        What has no counterpart is named on standard error. Example:
          marker config convert /etc/flowd-go/conf.yaml > /etc/marker/marker.yaml
        """)

    @Argument(help: "The file; \(Configuration.flowdGoFile) if none is named.")
    var file = Configuration.flowdGoFile

    func run() throws {
      var configuration = try Configuration(file: file)
      try configuration.review()
      Config.warn(of: configuration)
      print("# From \(file), by marker \(Daemon.version)")
      print(configuration.ownText, terminator: "")
    }
  }

  private static func warn(of configuration: Configuration) {
    for warning in configuration.warnings {
      StandardError.print("warning: \(configuration.text(of: warning))")
    }
  }
}
