import Flow
import Foundation
import Glibc
import Lab

/// What a collector was told of each flow, by the flow's source port.
struct FireflyTally {
  struct Told {
    var starts = 0
    var ends = 0
    /// Sent bytes of an earlier firefly were more than those of a later one.
    var fallsBack = false
    var sent = 0
    var start: String?
    /// An end has another start time than the start.
    var hasOtherStart = false
    var endTime: Date?
  }
  private(set) var flows: [UInt16: Told] = [:]
  private let ear: LabSocket

  init(_ ear: LabSocket) { self.ear = ear }

  /// Takes all that has come.
  mutating func hear(quiet: Int32 = 0) throws {
    while let datagram = try ear.receive(within: quiet) {
      let text = String(decoding: datagram, as: UTF8.self)
      guard
        let json = try JSONSerialization.jsonObject(with: Data(text.drop { $0 != "{" }.utf8))
          as? [String: Any]
      else { continue }
      take(json)
    }
  }

  private mutating func take(_ json: [String: Any]) {
    func part(_ name: String) -> [String: Any] { json[name] as? [String: Any] ?? [:] }
    let life = part("flow-lifecycle")
    guard let port = part("flow-id")["src-port"] as? Int else { return }
    var told = flows[UInt16(port)] ?? Told()
    let start = life["start-time"] as? String
    if let known = told.start, known != start { told.hasOtherStart = true }
    told.start = told.start ?? start
    if let sent = part("usage")["sent"] as? Int {
      if sent < told.sent { told.fallsBack = true }
      told.sent = sent
    }
    switch life["state"] as? String {
    case "start": told.starts += 1
    case "end":
      told.ends += 1
      told.endTime = (life["end-time"] as? String).flatMap(date)
    default: break
    }
    flows[UInt16(port)] = told
  }

  /// RFC 3339 with any fraction and an offset of 0.
  private func date(_ text: String) -> Date? {
    let whole = text.prefix { $0 != "." && $0 != "+" && $0 != "Z" }
    guard let seconds = try? Date("\(whole)Z", strategy: .iso8601) else { return nil }
    let rest = text.dropFirst(whole.count)
    guard rest.hasPrefix(".") else { return seconds }
    return seconds + (Double("0\(rest.prefix { $0 == "." || $0.isNumber })") ?? 0)
  }
}
