import ArgumentParser
import Linux

/// What only root can do for a service that runs as a user of its own. Its unit runs this before and after.
struct Prepare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make the pipes of the configuration that the service's user may not make itself.",
    shouldDisplay: false)

  @Option(name: [.long, .customShort("c")]) var config = Configuration.defaultFile
  @Option var user = "marker"
  @Flag(help: "Take them away again.") var undo = false

  func run() throws {
    guard let owner = UserAccount.numbers(of: user) else {
      throw ValidationError("there is no user \(user)")
    }
    for path in try Configuration(file: config).settings.pipes {
      if undo {
        if try HandedPipe.remove(path, of: owner) { print("removed \(path)") }
      } else if let made = try HandedPipe.make(path, for: owner) {
        print("made \(made) for \(user)")
      }
    }
  }
}
