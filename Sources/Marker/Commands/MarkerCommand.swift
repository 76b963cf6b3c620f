package import ArgumentParser
import Glibc

/// The command line.
package struct MarkerCommand: AsyncParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "marker",
    abstract: "Marks the packets of tagged science flows and announces the flows with fireflies.",
    discussion: """
      Without a subcommand, marker runs the daemon: `marker --interface eth0` is `marker run --interface eth0`.

      A flow is tagged by a line in a named pipe:
        echo "start tcp 2001:db8::1 34567 2001:db8::2 1094 atlas 17" > /var/run/flowd-go/np
        echo "end   tcp 2001:db8::1 34567 2001:db8::2 1094 atlas 17" > /var/run/flowd-go/np
      From the start line on, every packet of the flow that leaves this host carries the SciTags flow label.
      """,
    version: Daemon.version,
    subcommands: [
      Run.self, Check.self, Config.self, FlowCommand.self, Status.self, Top.self, Sniff.self, SelfTest.self,
      Decode.self, RegistryCommand.self, InlineCommand.self, Probe.self, Setup.self, Clean.self, Prepare.self,
    ],
    defaultSubcommand: Run.self)

  package init() {}

  /// As the parser's own, but that the exit status says more.
  package static func main() async {
    do {
      var command = try await asyncParseAsRoot(nil)
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch {
      guard let status = ExitStatus(error) else { exit(withError: error) }
      StandardError.print("Error: \(error)")
      Glibc.exit(status.rawValue)
    }
  }
}
