import BenchReport

/// Runs benchmarks and prints their page.
///
/// - Returns: whether all of them came to their end. Goals that are missed are no failure.
func runBenches(_ names: [BenchName], _ output: BenchCommand.Output, details: Bool) throws -> Bool {
  let recorder = Recorder(try Machine.current())
  let file: String? =
    switch output {
    case .none: nil
    case .file(let path): path
    case .named: recorder.page.machine.file
    }
  for name in names {
    recorder.run(name, benchmark(name))
    // A run of many minutes that is broken off leaves what it had.
    if let file { try recorder.page.write(to: file) }
  }
  print(recorder.page.text(details: details), terminator: "")
  if let file { print("kept in \(file)") }
  return recorder.page.failures.isEmpty
}

private func benchmark(_ name: BenchName) -> (Recorder) throws -> Void {
  switch name {
  case .program: benchProgram
  case .traffic: benchTraffic
  case .packets: benchPackets
  case .throughput: benchThroughput
  case .sock: SockBench.run
  case .inline: benchInline
  case .daemon: benchDaemon
  case .api: benchAPI
  case .nft: benchNFT
  case .fireflies: benchFireflies
  case .listener: benchListener
  case .sockets: benchSockets
  case .restart: benchRestart
  }
}

/// Prints a page that was kept, or puts its tables into a document.
func show(_ page: Page, _ form: BenchCommand.Form, of path: String) throws {
  switch form {
  case .text(let details): print(page.text(details: details), terminator: "")
  case .markdown: print(page.markdownFacts + "\n" + page.markdown(), terminator: "")
  case .into(let document): try page.fill(document: document, madeFrom: path)
  }
}

/// Why nothing can be measured here.
enum HostError: Error, CustomStringConvertible {
  case notRoot, noDaemon

  var description: String {
    switch self {
    case .notRoot: "it needs root, for network namespaces and BPF"
    case .noDaemon: "there is no marker beside it to be measured: swift build -c release --product marker"
    }
  }
}
