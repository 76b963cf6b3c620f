import Foundation
import Testing

/// A firefly as a collector reads it.
struct Heard {
  let json: [String: Any]
  let size: Int

  init(_ datagram: [UInt8]) throws {
    size = datagram.count
    let start = try #require(datagram.firstIndex(of: UInt8(ascii: "{")))
    json = try #require(try JSONSerialization.jsonObject(with: Data(datagram[start...])) as? [String: Any])
  }

  private func part(_ name: String) -> [String: Any] { json[name] as? [String: Any] ?? [:] }
  var state: String { part("flow-lifecycle")["state"] as? String ?? "" }
  var sourcePort: Int { part("flow-id")["src-port"] as? Int ?? 0 }
  var destinationPort: Int { part("flow-id")["dst-port"] as? Int ?? 0 }
  var source: String { part("flow-id")["src-ip"] as? String ?? "" }
  var sent: Int? { part("usage")["sent"] as? Int }
  var received: Int? { part("usage")["received"] as? Int }
  var experiment: Int { part("context")["experiment-id"] as? Int ?? 0 }
  var activity: Int { part("context")["activity-id"] as? Int ?? 0 }
  var proto: String { part("flow-id")["protocol"] as? String ?? "" }
  var netlink: [String: Any] { part("netlink") }

  /// Seconds since 1970, by the microsecond.
  func time(_ name: String) -> Double? {
    guard let text = part("flow-lifecycle")[name] as? String, let dot = text.firstIndex(of: ".") else {
      return nil
    }
    let formatter = ISO8601DateFormatter()
    let fraction = text[text.index(after: dot)...].prefix { $0.isNumber }
    guard let date = formatter.date(from: text[..<dot] + "Z"), let part = Double("0.\(fraction)") else {
      return nil
    }
    return date.timeIntervalSince1970 + part
  }
}
