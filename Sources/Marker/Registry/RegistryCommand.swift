import ArgumentParser
import Flow
import Glibc

/// Looks things up in the registry, and brings it up to date.
struct RegistryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "registry",
    abstract: "List, find and update the experiments and activities that SciTags knows.",
    subcommands: [List.self, Find.self, Show.self, Update.self])

  struct Options: ParsableArguments {
    @Option(
      name: .customLong("registry"),
      help: ArgumentHelp(
        "Look in this file. The default is \(RegistryFile.defaultPath) if there, else what is built in.",
        valueName: "file"))
    var path: String?

    @Flag(help: "Print JSON.")
    var json = false
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the experiments, or an experiment's activities.")
    @Argument(help: "By number or name.") var experiment: String?
    @OptionGroup var options: Options

    func run() throws {
      let file = try RegistryFile.inUse(options.path)
      var experiments = file.registry.experiments
      if let experiment {
        let number = try file.registry.experiment(experiment)
        experiments = experiments.filter { $0.number == number }
        guard !experiments.isEmpty else {
          throw RegistryProblem(
            source: file.path ?? "the registry", reason: "there is no experiment \(experiment)")
        }
      }
      if options.json { return print(RegistryText.json(file, experiments)) }
      print(file.description)
      print(RegistryText.table(experiments, withActivities: experiment != nil), terminator: "")
    }
  }

  struct Find: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Find experiments and activities by a part of their name, or by number.",
      discussion: "Exits with 1 where there are none. Example: marker registry find analysis")
    @Argument(help: "Part of a name, in any case; or an experiment's number.") var text: String
    @OptionGroup var options: Options

    func run() throws {
      let file = try RegistryFile.inUse(options.path)
      let found = RegistryText.find(text, in: file.registry)
      if options.json {
        print(RegistryText.json(file, found))
      } else {
        print(RegistryText.table(found, withActivities: true), terminator: "")
      }
      guard !found.isEmpty else {
        StandardError.print("nothing in the \(file.description) is called \(text), or has it in its name")
        throw ExitCode.failure
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show how a tag looks on the wire.",
      discussion: "Example: marker registry show cms \"Analysis Input\"")
    @Argument(help: "By number or name.") var experiment: String
    @Argument(help: "By number or name.") var activity: String
    @OptionGroup var options: Options

    func run() throws {
      let file = try RegistryFile.inUse(options.path)
      let tag = try file.registry.tag(experiment: experiment, activity: activity)
      let description = TagDescription(tag, MarkNames(file.registry, CodePointMap()), CodePointMap())
      print(options.json ? description.json : description.text)
    }
  }

  struct Update: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put a new registry in the place of the one in use.",
      discussion: """
        Fetches it from a URL by curl, or reads a file, checks it as a whole, and replaces the old one in one step. Where the \
        new one is broken or cannot be had the old one stays. One that is older than what is in use is refused unless \
        --older is given.
        """)
    @Argument(help: "A URL or a file; - is standard input.") var source = RegistryUpdate.source
    @Option(help: ArgumentHelp("Replace this file.", valueName: "file")) var to = RegistryFile.defaultPath
    @Flag(help: "Take one that is older than what is in use.") var older = false

    func run() throws {
      let old = access(to, F_OK) == 0 ? try? RegistryFile.read(to) : Registry.embedded
      let bytes = try RegistryUpdate.fetch(source)
      let new = try RegistryFile.parse(bytes, source: source)
      if let old, !older, RegistryText.time(new.modified) < RegistryText.time(old.modified) {
        throw RegistryProblem(
          source: source,
          reason:
            "it is of \(new.modified), older than what is in use, of \(old.modified); --older takes it all the same"
        )
      }
      try RegistryUpdate(path: to).install(bytes)
      let before = old.map { "; before it was of \($0.modified)" } ?? "; what was there before was broken"
      print("\(to): \(RegistryFile(registry: new, path: to).description)\(before)")
    }
  }
}
