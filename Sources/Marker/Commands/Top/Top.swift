import ArgumentParser
import Glibc
import NIOHTTP1

/// Shows the flows of the running daemon as they go.
struct Top: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the flows of the running daemon, the fastest first, and keep the view up to date.",
    discussion: """
      In a terminal the last line tells the keys. Elsewhere, or with --once, the flows are written as plain text.

      Example: the flows of ATLAS to one network, by their bytes
        marker top --sort bytes --filter 'atlas 2001:db8::/32'
      """)

  @Option(help: "What to sort by: \(FlowOrder.allCases.map(\.rawValue).joined(separator: ", ")).")
  var sort = FlowOrder.rate
  @Flag(help: "The least first.") var ascending = false
  @Option(
    help:
      "Only flows that fit all of these words: an experiment, a tag, an address, a network, a port, a protocol."
  )
  var filter = ""
  @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "seconds")) var interval = 2.0
  @Option(help: "The most flows, where the output is no terminal.") var limit = 50
  @Flag(help: "Write the flows once, and end.") var once = false
  @OptionGroup var daemon: FlowCommand.DaemonOptions

  func validate() throws {
    guard (0.1...3600).contains(interval) else {
      throw ValidationError("--interval is 0.1 to 3600 seconds, not \(interval)")
    }
    guard (1...APIRoutes.topLimit).contains(limit) else {
      throw ValidationError("--limit is 1 to \(APIRoutes.topLimit), not \(limit)")
    }
  }

  func run() throws {
    // A reader that has seen enough, as `head` has, is told by the write's error: the runtime's threads block signals.
    signal(SIGPIPE, SIG_IGN)
    var state = TopState()
    (state.order, state.isAscending, state.filter) = (sort, ascending, filter)
    let client = try daemon.client()
    if once || isatty(STDOUT_FILENO) == 0 || isatty(STDIN_FILENO) == 0 {
      return try repeatPlain(state, client)
    }
    let end = try TopScreen.run(state, client, interval: interval)
    if let problem = end.problem {
      StandardError.print("\(NoDaemon(problem, daemon.api))")
      throw ExitCode.failure
    }
    if end.signal != 0 { throw ExitCode(128 + end.signal) }
  }

  private func repeatPlain(_ first: TopState, _ client: APIClient) throws {
    var state = first
    while true {
      do throws(APIError) { state.take(try client.ask(.GET, state.path(limit: limit))) } catch {
        StandardError.print("\(NoDaemon(error, daemon.api))")
        throw ExitCode.failure
      }
      guard state.message.isEmpty else {
        StandardError.print(state.message)
        throw ExitCode.failure
      }
      let isRead = StandardOutput.print(state.plainLines.joined(separator: "\n") + (once ? "" : "\n"))
      if once || !isRead { return }
      usleep(UInt32(interval * 1_000_000))
    }
  }
}

extension FlowOrder: ExpressibleByArgument {}
