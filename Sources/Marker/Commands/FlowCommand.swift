import ArgumentParser
import Flow
import Glibc
import NIOHTTP1

/// Tags flows by hand, and shows them.
struct FlowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flow", abstract: "Start, end and list flows of the running daemon.",
    subcommands: [Start.self, End.self, List.self])

  /// Where the daemon is asked.
  struct DaemonOptions: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        "Ask the daemon at this address and port, or by this unix socket.", valueName: "address"),
      transform: { try ValueType<APIAddress>.apiAddress.argument($0) })
    var api = APIAddress.unix("/run/marker/api.sock")

    @Option(help: ArgumentHelp("A file with the daemon's token, where it asks for one.", valueName: "file"))
    var tokenFile: String?

    func client() throws -> APIClient {
      var settings = APISettings()
      settings.tokenFile = tokenFile
      return APIClient(address: api, token: try APIAccess(settings).token)
    }
  }

  /// A flow on the command line.
  struct FlowArguments: ParsableArguments {
    @Argument(help: "tcp, udp or sctp.") var transport: String
    @Argument(help: "The source's address.") var source: String
    @Argument(help: "The source's port.") var sourcePort: Int
    @Argument(help: "The destination's address.") var destination: String
    @Argument(help: "The destination's port.") var destinationPort: Int
    @Argument(help: "The experiment, by number or name.") var experiment: String
    @Argument(help: "The activity, by number or name.") var activity: String
    @Option(help: "Who runs the flow, for its fireflies.") var application: String?

    var json: String {
      func part(_ text: String) -> String { Int(text).map { "\($0)" } ?? JSONText.quoted(text) }
      func end(_ address: String, _ port: Int) -> String {
        JSONText.object([("address", JSONText.quoted(address)), ("port", "\(port)")])
      }
      return JSONText.object(
        [
          ("protocol", JSONText.quoted(transport)), ("source", end(source, sourcePort)),
          ("destination", end(destination, destinationPort)), ("experiment", part(experiment)),
          ("activity", part(activity)),
        ] + (application.map { [("application", JSONText.quoted($0))] } ?? []))
    }
  }

  struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Tag a flow: when the command is done its packets are marked.",
      discussion: "Example: marker flow start tcp 2001:db8::1 34567 2001:db8::2 1094 cms \"Analysis Input\"")
    @OptionGroup var flow: FlowArguments
    @OptionGroup var daemon: DaemonOptions

    func run() throws { try FlowCommand.tell(try daemon.client().ask(.POST, "/v1/flows", body: flow.json)) }
  }

  struct End: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End a flow that was tagged by hand or by the API.")
    @OptionGroup var flow: FlowArguments
    @OptionGroup var daemon: DaemonOptions

    func run() throws {
      try FlowCommand.tell(try daemon.client().ask(.POST, "/v1/flows/end", body: flow.json))
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List tagged flows as JSON, one a line.")
    @Option(help: "Of this experiment only, by number.") var experiment: Int?
    @Option(help: "Of this activity only, by number.") var activity: Int?
    @Option(help: "The most flows.") var limit = 1000
    @OptionGroup var daemon: DaemonOptions

    func validate() throws {
      guard limit > 0 else { throw ValidationError("--limit is at least 1, not \(limit)") }
    }

    func run() throws {
      let filter = [experiment.map { "experiment=\($0)" }, activity.map { "activity=\($0)" }].compactMap(
        \.self)
      let client = try daemon.client()
      var (left, from) = (limit, 0)
      while left > 0 {
        let query = (["limit=\(min(left, Self.pageLimit))", "from=\(from)"] + filter).joined(separator: "&")
        let answer = try client.ask(.GET, "/v1/flows?\(query)")
        guard answer.status == 200 else { return try FlowCommand.tell(answer) }
        let page = try Self.page(answer.body)
        for flow in page.flows { print(flow) }
        guard let next = page.next else { return }
        left -= page.flows.count
        from = next
      }
    }

    /// The most flows that the daemon gives at once.
    private static let pageLimit = 10_000

    private static func page(_ body: String) throws(JSONProblem) -> (flows: [String], next: Int?) {
      var (flows, next): ([String], Int?) = ([], nil)
      let bytes = Array(body.utf8)
      let problem = bytes.withUnsafeBytes { bytes -> JSONProblem? in
        var reader = JSONReader(bytes)
        do throws(JSONProblem) {
          try reader.object { reader, key throws(JSONProblem) in
            switch key {
            case "flows":
              try reader.array { reader throws(JSONProblem) in
                let start = reader.offset
                try reader.skip()
                flows.append(String(decoding: bytes[start..<reader.offset], as: UTF8.self))
              }
            case "next" where try reader.kind() == .number: next = try reader.integer()
            default: try reader.skip()
            }
          }
        } catch { return error }
        return nil
      }
      if let problem { throw problem }
      return (flows, next)
    }
  }

  private static func tell(_ answer: APIClient.Answer) throws {
    guard answer.status < 300 else {
      StandardError.print("\(answer.body)")
      throw ExitCode.failure
    }
    print(answer.body)
  }
}
