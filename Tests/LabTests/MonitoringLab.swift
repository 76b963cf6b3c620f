import Flow
import Glibc
import Lab
import Linux

@testable import Marker

/// A daemon with its API, and what its commands print.
struct MonitoringLab {
  let pair: VethPair
  let marker: MarkerProcess
  /// What `COLLECTOR` in options stands for: somebody who takes fireflies and says nothing.
  private let collector: LabSocket

  init(_ options: String = "", configuration: String? = nil) throws {
    pair = try VethPair()
    guard let loopback = Address("127.0.0.1") else { throw SystemError("127.0.0.1", code: EINVAL) }
    collector = try LabSocket(.udp, in: pair.near, bound: Endpoint(loopback, 0))
    let options = options.replacing("COLLECTOR", with: "\(collector.local)")
    let configuration = configuration?.replacing("COLLECTOR", with: "\(collector.local)")
    marker = try MarkerProcess(
      (configuration == nil ? "--interface near0 --pipe PIPE --no-remote-fireflies" : "--config CONFIG")
        + " --api API --api 127.0.0.1:7777 \(options)", configuration: configuration, in: pair.near)
  }

  /// What a command prints, standard error too, and how it exits.
  func run(_ command: String, _ pipe: String = "") throws -> (text: String, status: String) {
    let text = try pair.near.shell(
      "(\(MarkerProcess.binary) \(command) --api \(marker.api)) 2>&1 \(pipe); echo \"exit $?\"")
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    return (lines.dropLast().joined(separator: "\n"), String(lines.last ?? ""))
  }

  func tag(_ flow: Conversation, _ state: String = "start", _ tag: String = "3 14") throws {
    let key = flow.key
    _ = try run(
      "flow \(state) \(key.transport.name) \(key.local.address) \(key.local.port) \(key.remote.address) \(key.remote.port) \(tag)"
    )
  }

  /// The samples of a scrape, by name and labels.
  func scrape() throws -> [String: Double] {
    let text = try pair.near.shell("curl -sS -m 20 http://127.0.0.1:7777/metrics")
    var samples: [String: Double] = [:]
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      guard let space = line.lastIndex(of: " ") else { continue }
      samples[String(line[..<space])] = Double(line[line.index(after: space)...])
    }
    return samples
  }

  /// Scrapes until a sample has at least this value, at most half a minute.
  func scrape(until sample: String, atLeast value: Double) throws -> [String: Double] {
    var samples = try scrape()
    for _ in 0..<150 where samples[sample] ?? -1 < value {
      usleep(200_000)
      samples = try scrape()
    }
    return samples
  }
}
