import ArgumentParser
import Flow
import Linux

/// Shows what this host can do and what would be done.
struct Probe: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Try every way of marking on this host, and show what would be chosen and why.",
    discussion: """
      Each way is tried for real in a throw-away network namespace: a packet is sent through it and its mark read back. \
      Nothing of the host changes, and nothing stays, however the probe ends. Interfaces are only looked at. \
      Exits with 1 where the strategy asked for does not work fully.
      """)

  @Option(help: "The strategy to decide on.")
  var strategy = Strategy.auto

  @Option(help: "The path to decide on.")
  var path = PathChoice.auto

  @Option(
    name: [.long, .customShort("i")],
    help:
      "Show this interface, or those that fit a pattern such as 'eth*', instead of all. Repeat for several.")
  var interface: [String] = []

  @Option(help: "Show the interfaces that would be discovered so, instead of all.")
  var discover: InterfaceSelection.Discovery?

  @Option(help: "How many flows memory is tried for.")
  var maxFlows = FlowTable.Limits().maxFlows

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard (1...16_000_000).contains(maxFlows) else {
      throw ValidationError("--max-flows is 1 to 16000000, not \(maxFlows)")
    }
  }

  func run() throws {
    let interfaces = try InterfaceReport(InterfaceSelection(names: interface, discovery: discover))
    let report = HostReport(maxFlows: maxFlows, interfaces)
    let decision = Decision(strategy, path, report.abilities)
    print(
      json
        ? ProbeJSON.text(report, interfaces, decision)
        : ProbeTable.text(report, interfaces, decision))
    guard decision.plan?.isProven == true else { throw ExitCode.failure }
  }
}

/// What follows from what was tried: a plan, or why there is none.
struct Decision {
  let strategy: Strategy
  let path: PathChoice
  let plan: Plan?
  let problem: PlanError?

  init(_ strategy: Strategy, _ path: PathChoice, _ abilities: PathAbilities) {
    self.strategy = strategy
    self.path = path
    do throws(PlanError) {
      plan = try Plan(strategy, path, abilities)
      problem = nil
    } catch {
      plan = nil
      problem = error
    }
  }
}
