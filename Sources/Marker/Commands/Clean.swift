import ArgumentParser
import Linux
import NFT
import XDP

/// Takes away what a daemon has left.
struct Clean: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Take away the marks and flows that a stopped daemon has left in the kernel.",
    discussion: """
      Removes what marker has added in this network namespace: its programs at tc, its nftables tables `inet marker` and `inet marker_memory`, and \
      what it pins in the BPF file system. Nothing of others is touched. Refused while a daemon runs; stop that first, or \
      run it with --clean.
      """)

  func run() throws {
    if let daemon = try SingleDaemon.running() { throw daemon }
    var removed: [String] = []
    let filters = try TCPath.removeFilters(on: try Interface.all())
    if filters > 0 { removed.append("\(filters) tc filter\(filters == 1 ? "" : "s")") }
    if let folder = BPFFolder.existing() {
      let links = TCPath.removeLeft(in: folder)
      if links > 0 { removed.append("\(links) tcx link\(links == 1 ? "" : "s")") }
      if !folder.names.isEmpty { removed.append("the records of flows") }
      BPFFolder.remove(folder.path)
    }
    if try NFTPath.clean() { removed.append("the nftables table inet marker") }
    if try NFTMemory.clean() { removed.append("the nftables table inet marker_memory") }
    print(removed.isEmpty ? "nothing of marker's is here" : "removed: \(removed.joined(separator: ", "))")
  }
}
