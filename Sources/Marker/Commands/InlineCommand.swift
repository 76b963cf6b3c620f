import ArgumentParser
import Flow
import Linux
import XDP

/// Prepares and shows the two ports that packets of other hosts pass.
struct InlineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inline", abstract: "Prepare two ports between which marker marks packets of other hosts.",
    discussion: """
      Both ports belong to a bridge, which has the traffic as long as marker does not take packets of tagged flows over. \
      docs/inline.md shows both shapes, a namespace behind a veth and a box with two cards.
      """,
    subcommands: [Up.self, Down.self, Status.self])

  struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put both ports into a bridge and say what that took.",
      discussion: """
        Prints each change as the command that does the same by hand. Nothing is changed where something is in the way. \
        Example, for a namespace with its veth: marker inline up --netns dtn --outside eth1
        """)

    @Option(help: "The port that packets to be marked arrive at.") var inside: String?
    @Option(help: "Instead of --inside: the veth whose other end is in this named network namespace.")
    var netns: String?
    @Option(help: "The port by which they leave.") var outside: String
    @Option(help: "The bridge to make where neither port is in one.") var bridge = "br-marker"

    func validate() throws {
      guard (inside == nil) != (netns == nil) else {
        throw ValidationError("name the inside by --inside or by --netns")
      }
    }

    func run() throws {
      let inside = try inside ?? InlineSetup.port(ofNamespace: netns ?? "")
      let setup = InlineSetup(inside: inside, outside: outside, bridge: bridge)
      var count = 0
      try setup.apply(try InlineRecord()) {
        print($0)
        count += 1
      }
      // Says what the daemon would.
      _ = try InlinePair.find(inside: inside, outside: outside)
      if count == 0 { print("# nothing to do: both are ports of one bridge") }
      print("# ready: marker --inside \(inside) --outside \(outside)")
    }
  }

  struct Down: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take back what `up` changed, and offloads that a killed daemon left off.",
      discussion: "Ports that were in a bridge before stay there. Stop the daemon first.")

    @Option(help: "The inside port, where `up` did not make it.") var inside: String?

    func run() throws {
      let record = try InlineRecord()
      let known = record.lines().compactMap { line -> String? in
        let words = line.split(separator: " ")
        return words.count > 2 && words[0] == "#" && words[1] == "inside" ? String(words[2]) : nil
      }
      for name in Set(known + (inside.map { [$0] } ?? [])).sorted() {
        guard let port = try Interface.all().first(where: { $0.name == name }) else { continue }
        for command in try FeatureRecord(for: port).restore(port) { print(command) }
      }
      InlineSetup.undo(record) { print($0) }
    }
  }

  struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show two ports, and whether marker could take packets over between them.")

    @Option(help: "The port that packets to be marked arrive at.") var inside: String
    @Option(help: "The port by which they leave.") var outside: String

    func run() throws {
      let details = try InterfaceDetails.all()
      for name in [inside, outside] {
        guard let port = details.first(where: { $0.interface.name == name }) else {
          print("\(name): not here")
          continue
        }
        let bridge = details.first { $0.interface.index == port.interface.master }?.interface.name
        print(
          "\(name): \(port.interface.kind.isEmpty ? port.driver : port.interface.kind), "
            + "\(port.isUp ? port.hasCarrier ? "up" : "up without carrier" : "down"), MTU \(port.mtu), "
            + (bridge.map { "port of \($0)" } ?? "in no bridge"))
      }
      if let port = details.first(where: { $0.interface.name == inside })?.interface {
        for line in try FeatureRecord(for: port).lines { print("turned off: \(line)") }
      }
      for step in try InlineRecord().lines().reversed().compactMap({ InlineStep(line: $0) }) {
        print("`marker inline down` does: \(step.command)")
      }
      do throws(InlineError) {
        _ = try InlinePair.find(inside: inside, outside: outside)
        let engines = InlineKeeper.engines(InlineSettings(inside: inside, outside: outside))
        print("ready; engines: \(engines.map(\.rawValue).joined(separator: ", else "))")
      } catch {
        print("not ready: \(error)")
        throw ExitCode.failure
      }
    }
  }
}
