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
    // Held until the end: a daemon that starts meanwhile would lose what it has just put there.
    let onlyOne = try Self.lock()
    defer { extendLifetime(onlyOne) }
    var removed: [String] = []
    let interfaces = try Interface.all()
    let filters = try TCPath.removeFilters(on: interfaces)
    if filters > 0 { removed.append("\(filters) tc filter\(filters == 1 ? "" : "s")") }
    if let folder = try BPFFolder.existing() {
      let links = try TCPath.removeLeft(in: folder)
      try TCPath.removeQdiscs(of: folder, on: interfaces)
      if links > 0 { removed.append("\(links) tcx link\(links == 1 ? "" : "s")") }
      if try !folder.names.isEmpty { removed.append("the records of flows") }
      for older in folder.otherVersions where older.version < folder.version { try older.removeAll() }
      if try !folder.removeAll() {
        let strangers = try folder.names.joined(separator: " ")
        print("\(folder.path) stays: something is in it that is not marker's: \(strangers)")
      }
    }
    if try NFTPath.clean() { removed.append("the nftables table inet marker") }
    if try NFTMemory.clean() { removed.append("the nftables table inet marker_memory") }
    print(removed.isEmpty ? "nothing of marker's is here" : "removed: \(removed.joined(separator: ", "))")
  }

  /// - Throws: `AnotherDaemon` where one runs here.
  private static func lock() throws -> SingleDaemon? {
    do { return try SingleDaemon() } catch let error as SystemError {
      print("a daemon that runs would not be noticed: no lock can be had: \(error)")
      return nil
    }
  }
}
