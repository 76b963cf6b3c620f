import ArgumentParser
import Glibc
import NIOHTTP1

/// Says how the running daemon fares.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say whether the running daemon works, and what it has done.",
    discussion: """
      The first word is its health: `healthy`; `degraded`, where something that was asked for does not work everywhere; \
      or `failing`, where a whole address family or all interfaces are not marked. They exit with 0, 2 and 3, and with 1 \
      where no daemon answers.
      """)

  @Flag(help: "As JSON, the answer of /v1/status.") var json = false
  @OptionGroup var daemon: FlowCommand.DaemonOptions

  func run() throws {
    let client = try daemon.client()
    let answer: APIClient.Answer
    do throws(APIError) { answer = try client.ask(.GET, "/v1/status") } catch {
      StandardError.print("\(NoDaemon(error, daemon.api))")
      throw ExitCode.failure
    }
    guard answer.status == 200 else {
      StandardError.print(
        "the daemon at \(daemon.api) does not tell its status: \(answer.status) \(answer.body)")
      throw ExitCode.failure
    }
    let status = try JSONValue(answer.body)
    print(json ? answer.body : StatusText(status).text)
    switch status["health"].text {
    case "healthy": return
    case "degraded": throw ExitCode(2)
    default: throw ExitCode(3)
    }
  }
}

/// Why nothing could be asked, and what to do.
struct NoDaemon: CustomStringConvertible {
  private let error: APIError
  private let address: APIAddress

  init(_ error: APIError, _ address: APIAddress) {
    self.error = error
    self.address = address
  }

  var description: String {
    "no daemon answers at \(address): \(reason).\n"
      + "Start it with `systemctl start marker` or `marker run`, or name the address that api.listen has with --api."
  }

  private var reason: String {
    guard case .unix(let path) = address else { return error.reason }
    if access(path, F_OK) != 0 {
      return "there is no such socket, so none runs here or it serves no API there"
    }
    if access(path, R_OK | W_OK) != 0 {
      return "this user may not use the socket: be root, or in the group of \(path)"
    }
    return "the socket is a remnant of a daemon that was killed, or the daemon hangs (\(error.reason))"
  }
}
