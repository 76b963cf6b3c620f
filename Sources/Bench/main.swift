import BenchReport
import Glibc
import Lab

func leave(_ error: some Error, _ status: Int32 = 1) -> Never {
  complain("\(error)")
  exit(status)
}

/// What measuring needs: the rights, and a daemon of the same build.
func requireHost() throws {
  guard geteuid() == 0 else { throw HostError.notRoot }
  guard !MarkerProcess.binary.hasPrefix(".build/debug") else { throw HostError.noDaemon }
}

let command: BenchCommand
do throws(UsageError) {
  command = try BenchCommand(Array(CommandLine.arguments.dropFirst()))
} catch {
  leave(error, 64)
}

do {
  switch command {
  case .help: print(BenchCommand.usage, terminator: "")
  case .compare(let old, let new):
    print(Comparison(try Page(contentsOf: old), try Page(contentsOf: new)), terminator: "")
  case .page(let file, let form): try show(try Page(contentsOf: file), form, of: file)
  case .hold(let arguments): holdConnections(arguments)
  case .soak(let minutes):
    try requireHost()
    try soak(minutes: minutes)
  case .frames(let packets):
    try requireHost()
    try soakInline(packets)
  case .run(let names, let output, let details):
    try requireHost()
    guard try runBenches(names, output, details: details) else { exit(1) }
  }
} catch {
  leave(error)
}
