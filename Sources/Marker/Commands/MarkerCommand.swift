package import ArgumentParser

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
      Run.self, Check.self, Config.self, FlowCommand.self, InlineCommand.self, Probe.self, Clean.self,
    ],
    defaultSubcommand: Run.self)

  package init() {}
}
