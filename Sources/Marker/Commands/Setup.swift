import ArgumentParser
import Firefly
import Flow
import Glibc
import Linux

/// From an installed package to a running service.
struct Setup: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a configuration, and start the service with it.",
    discussion: """
      Meant for perfSONAR hosts, which mark everything they send with one tag; takes the options of the helper that OSG \
      has for flowd-go. Interfaces that are not named are those of perfSONAR's multi-NIC file, else those that default \
      routes lead through. What is configured already, by marker or by flowd-go, stays where no option says otherwise; a \
      file that is replaced is kept. flowd-go is stopped and disabled. Each step is printed as the command that does the \
      same by hand; what is done already is not done again.

      Example:
        marker setup --experiment atlas --interfaces eth0,eth1 --yes
      """)

  @Option(
    name: [.long, .customLong("experiment-id")],
    help:
      "Give every packet that belongs to no tagged flow this experiment, by number or name; `none` for none.")
  var experiment: String?

  @Option(
    name: [.long, .customLong("activity-id")],
    help: "The activity that goes with it, by number or name; perfSONAR, 2, if not given.")
  var activity: String?

  @Option(
    help: ArgumentHelp(
      "Mark what leaves through these interfaces, by name or pattern, separated by commas.", valueName: "list"
    ))
  var interfaces: [String] = []

  @Option(
    name: [.long, .customLong("firefly-receiver")],
    help: ArgumentHelp(
      "Send fireflies here; `\(SetupPlan.usualCollector)` where nothing is configured. Repeat for several.",
      valueName: "host:port"))
  var collector: [String] = []

  @Option(help: ArgumentHelp("The port of collectors that are given without one.", valueName: "port"))
  var fireflyReceiverPort: UInt16 = Collector.defaultPort

  @Flag(name: [.long, .customLong("no-firefly-receiver")], help: "Send fireflies to no collector.")
  var noCollector = false

  @Option(
    name: [.long, .customLong("firefly-bind-port")],
    help: ArgumentHelp(
      "Hear fireflies of this host's own services at this port of the loopback, mark their flows and send them on.",
      valueName: "port"))
  var relayPort: UInt16?

  @Flag(name: .shortAndLong, help: "Ask nothing. Without --experiment a new configuration gets `default`.")
  var yes = false

  @Flag(help: "Print what would be done, and do nothing.")
  var dryRun = false

  @Flag(help: "Stop and disable the service, take its marks away, and put the configuration aside.")
  var uninstall = false

  @Flag(help: "List the experiments and the number of each.")
  var listExperiments = false

  @Option(
    help: ArgumentHelp(
      "Set up the files of another root instead, such as an image's; nothing is started.", valueName: "folder"
    ))
  var root = ""

  func validate() throws {
    if noCollector, !collector.isEmpty {
      throw ValidationError("--collector and --no-collector contradict each other")
    }
    if uninstall, experiment != nil || !interfaces.isEmpty || !collector.isEmpty {
      throw ValidationError("--uninstall takes no settings")
    }
  }

  func run() throws {
    if listExperiments { return Self.list() }
    guard dryRun || !root.isEmpty || geteuid() == 0 else { throw SetupError.needsRoot }
    let steps = SetupSteps(root: root == "/" ? "" : root, isDry: dryRun)
    if uninstall { return try remove(steps) }

    var plan = try SetupPlan(root: steps.root)
    var wishes = try wishes(steps.root)
    if plan.isFresh, wishes.experiment == nil { wishes.experiment = try askExperiment() }
    try plan.apply(wishes)
    for warning in plan.configuration.warnings {
      StandardError.print("warning: \(plan.configuration.text(of: warning))")
    }
    for note in plan.notes { print("# \(note)") }
    print("# \(steps.configurationFile) is to say:")
    for line in plan.text.split(separator: "\n") { print("    \(line)") }
    try confirm("Write it and start the service?")
    let isChanged = try steps.write(plan.text)
    try steps.stopFlowdGo()
    try steps.start(isChanged: isChanged)
    print(dryRun ? "# nothing was done" : "# done; see `systemctl status marker` and `marker flow list`")
  }

  private func remove(_ steps: SetupSteps) throws {
    try confirm("Stop marker and put its configuration aside?")
    try steps.stop()
    if steps.root.isEmpty {
      print("marker clean")
      if !dryRun { try Clean().run() }
    }
    try steps.takeConfiguration()
    print("# done; `apt remove marker` or `dnf remove marker` takes the package away")
  }

  private func wishes(_ root: String) throws -> SetupWishes {
    var wishes = SetupWishes()
    wishes.experiment = experiment
    wishes.activity = activity
    wishes.interfaces = try interfaces.flatMap { $0.split(separator: ",") }.map { name in
      try ValueType<String>.interface.argument(String(name.filter { $0 != " " }))
    }
    if root.isEmpty, !wishes.interfaces.isEmpty {
      let present = try Interface.all().map(\.name)
      for name in wishes.interfaces where !InterfaceSelection.isPattern(name) && !present.contains(name) {
        throw SetupError.noInterface(name, present)
      }
    }
    wishes.collectors = try collector.filter { !$0.isEmpty }.map {
      try Collector($0, defaultPort: fireflyReceiverPort)
    }
    // The helper for flowd-go takes an empty receiver for none.
    wishes.hasNoCollector = noCollector || !collector.isEmpty && wishes.collectors.isEmpty
    wishes.relayPort = relayPort
    return wishes
  }

  private static func list() {
    for experiment in Registry.embedded.experiments { print("\(experiment.number)\t\(experiment.name)") }
  }

  private func askExperiment() throws -> String {
    if yes || dryRun { return "1" }
    Self.list()
    while true {
      print("Experiment, by number or name, or none: ", terminator: "")
      fflush(nil)
      guard let answer = readLine() else { throw SetupError.notConfirmed }
      if answer.lowercased() == "none" { return answer }
      do throws(SciTagError) {
        _ = try Registry.embedded.tag(experiment: answer, activity: activity ?? SetupPlan.usualActivity)
        return answer
      } catch {
        print("\(error)")
      }
    }
  }

  private func confirm(_ question: String) throws {
    if yes || dryRun { return }
    print("\(question) [y/N] ", terminator: "")
    fflush(nil)
    guard let answer = readLine()?.lowercased(), answer == "y" || answer == "yes" else {
      throw SetupError.notConfirmed
    }
  }
}
