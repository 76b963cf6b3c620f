import Glibc

/// Name and body of each part, in the order in which they run.
let parts: [(name: String, run: () throws -> Void)] = [
  ("program", benchProgram), ("traffic", benchTraffic), ("daemon", benchDaemon), ("api", benchAPI),
  ("fireflies", benchFireflies), ("listener", benchListener), ("sockets", benchSockets),
  ("restart", benchRestart), ("sock", SockBench.run), ("nft", benchNFT), ("packets", benchPackets),
  ("throughput", benchThroughput),
]
let wanted = Array(CommandLine.arguments.dropFirst())
if wanted.first == "hold" { holdConnections(Array(wanted.dropFirst())) }
for name in wanted where !parts.contains(where: { $0.name == name }) {
  print("marker-bench: no part is called \(name); there are: \(parts.map(\.name).joined(separator: " "))")
  exit(64)
}
guard geteuid() == 0 else {
  print("marker-bench: it needs root, for network namespaces and BPF")
  exit(1)
}
for part in parts where wanted.isEmpty || wanted.contains(part.name) {
  do {
    try part.run()
  } catch {
    print("marker-bench: \(part.name): \(error)")
    exit(1)
  }
}
