import Foundation
import Glibc
import Lab
import Linux
import Testing

/// What `marker probe --json` printed.
struct ProbeOutput: Decodable {
  struct Row: Decodable, Equatable {
    let group: String
    let what: String
    let verdict: String
    let answer: String
    let needs: String
  }
  struct Interface: Decodable {
    let name: String
    let kind: String
    let linkHeader: String?
    let up: Bool
    let mtu: Int
    let master: String?
    let coveredBy: String?
    let defaultRoute: Bool
    let globalAddress: Bool
    let discoveredBy: [String]
    let xdp: [String]?
  }
  struct Assignment: Decodable {
    let stamp: String
    let path: String?
    let fallbacks: [String]
  }
  let tried: [Row]
  let interfaces: [Interface]
  let ipv6: Assignment?
  let ipv4: Assignment?
  let problem: String?

  /// Runs it in the calling thread's namespace.
  ///
  /// - Parameters:
  ///   - command: runs the probe with less than this process has; `PROBE` in it stands for it.
  ///   - binary: the program.
  /// - Returns: what it printed, and its exit status.
  static func of(
    _ arguments: String = "", by command: String = "PROBE", binary: String = MarkerProcess.binary
  ) throws -> (output: ProbeOutput, status: Int) {
    let command = command.replacing("PROBE", with: "\(binary) probe --json \(arguments)")
    let text = try shell("{ \(command); echo \"status $?\"; } 2>&1")
    let lines = text.split(separator: "\n")
    let status = lines.last.flatMap { Int($0.dropFirst("status ".count)) }
    let json = try #require(lines.first { $0.hasPrefix("{") }, "\(text)")
    return (
      try JSONDecoder().decode(ProbeOutput.self, from: Data(json.utf8)), try #require(status, "\(text)")
    )
  }

  func row(_ what: String) throws -> Row { try #require(tried.first { $0.what == what }, "no row \(what)") }

  func verdicts(_ group: String) -> Set<String> {
    Set(tried.filter { $0.group == group }.map(\.verdict))
  }
}
