import Glibc

/// Name and body of each part, in the order in which they run.
let parts: [(name: String, run: () throws -> Void)] = [
  ("program", benchProgram), ("traffic", benchTraffic), ("daemon", benchDaemon), ("api", benchAPI),
  ("fireflies", benchFireflies), ("listener", benchListener), ("sockets", benchSockets),
  ("restart", benchRestart), ("sock", SockBench.run), ("nft", benchNFT), ("packets", benchPackets),
  ("throughput", benchThroughput),
  ("inline", benchInline),
]
let wanted = Array(CommandLine.arguments.dropFirst())
if wanted.first == "hold" { holdConnections(Array(wanted.dropFirst())) }
// `inline --packets N` sends so many, instead of measuring.
let soaked = wanted.count == 3 && wanted[0] == "inline" && wanted[1] == "--packets" ? UInt64(wanted[2]) : nil
let isOther = soaked != nil || wanted.first == "soak"
for name in wanted where !isOther && !parts.contains(where: { $0.name == name }) {
  print("marker-bench: no part is called \(name); there are: \(parts.map(\.name).joined(separator: " "))")
  exit(64)
}
// `soak MINUTES` goes on for so long; it is no part of a page of figures.
let soakMinutes = wanted.count == 2 && wanted[0] == "soak" ? Int(wanted[1]) : nil
guard geteuid() == 0 else {
  print("marker-bench: it needs root, for network namespaces and BPF")
  exit(1)
}
if let packets = soaked {
  do {
    try soakInline(packets)
    exit(0)
  } catch {
    print("marker-bench: inline: \(error)")
    exit(1)
  }
}
if wanted.first == "soak" {
  guard let soakMinutes, soakMinutes > 0 else {
    print("marker-bench: soak takes a number of minutes, as in: marker-bench soak 10")
    exit(64)
  }
  do {
    try soak(minutes: soakMinutes)
    exit(0)
  } catch {
    print("marker-bench: soak: \(error)")
    exit(1)
  }
}
for part in parts where wanted.isEmpty || wanted.contains(part.name) {
  do {
    try part.run()
  } catch {
    print("marker-bench: \(part.name): \(error)")
    exit(1)
  }
}
