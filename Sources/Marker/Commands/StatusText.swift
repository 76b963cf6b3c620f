/// The daemon's status as a person reads it.
struct StatusText {
  private let status: JSONValue

  init(_ status: JSONValue) { self.status = status }

  var text: String {
    var lines = [
      status["health"].text,
      "  version \(status["version"].text), strategy \(status["strategy"].text), up \(Scaled.duration(status["uptime"].number ?? 0)) since \(status["start"].text.prefix(19))Z",
    ]
    lines += status["reasons"].items.map { "  ! \($0.text)" }
    lines += ["", "paths"] + places
    lines += ["", "flows"] + flows
    lines += ["", "traffic"] + traffic
    lines += ["", "fireflies"] + fireflies
    lines += ["", "warnings and errors since the start"] + log
    return lines.joined(separator: "\n")
  }

  private func count(_ value: JSONValue) -> String { Scaled.count(value.number ?? 0) }

  /// `started 3, ended 1`, without what is 0.
  private func counts(_ value: JSONValue, _ names: [(key: String, words: String)]) -> String {
    let some = names.filter { value[$0.key].number ?? 0 > 0 }
    return some.isEmpty ? "none" : some.map { "\($0.words) \(count(value[$0.key]))" }.joined(separator: ", ")
  }

  private var places: [String] {
    var rows = status["places"].items.map { place in
      [
        place["interface"].text.isEmpty ? "all" : place["interface"].text,
        place["family"].text == "ipv6" ? "IPv6" : "IPv4",
        place["path"].text.isEmpty ? "none" : place["path"].text,
        place["marks"].isTrue ? "marks" : "does not mark", place["stamp"].text, place["reason"].text,
      ]
    }
    if !rows.isEmpty { rows.insert(["interface", "family", "path", "", "mark", ""], at: 0) }
    return Columns.lines(rows, indent: 2) + status["decision"].items.map { "  \($0.text)" }
  }

  private var flows: [String] {
    let events = counts(
      status["events"],
      [
        ("started", "started"), ("refreshed", "refreshed"), ("ended", "ended"), ("released", "released"),
        ("endedWithSocket", "ended with their socket"), ("aged", "aged"),
        ("unknownEnds", "ends of unknown flows"),
        ("refusedFull", "refused as the table was full"), ("notLocal", "not of this host"),
        ("refusedMarks", "without a mark for their experiment"),
      ])
    var lines = [
      "  \(count(status["flows"])) now, of \(count(status["maxFlows"])) at most; events: \(events)",
      "  pipe lines: \(count(status["pipes"]["lines"])), malformed \(count(status["pipes"]["malformed"]))",
    ]
    let heard = counts(
      status["heard"],
      [
        ("received", "received"), ("taken", "taken"), ("malformed", "malformed"),
        ("notAllowed", "not allowed"),
        ("limited", "beyond the rate"), ("echoes", "echoes"), ("telemetry", "telemetry"),
        ("overflowed", "lost by the kernel"), ("relayed", "relayed"), ("notRelayed", "not relayed"),
      ])
    if heard != "none" { lines.append("  fireflies heard: \(heard)") }
    return lines
  }

  private var traffic: [String] {
    var rows = [["tag", "family", "flows", "marked packets", "marked bytes", "socket out", "socket in"]]
    for tag in status["tags"].items {
      rows.append([
        tag["name"].text, tag["family"].text == "ipv6" ? "IPv6" : "IPv4", count(tag["flows"]),
        count(tag["packets"]), Scaled.bytes(tag["bytes"].number ?? 0),
        Scaled.bytes(tag["socketSent"].number ?? 0),
        Scaled.bytes(tag["socketReceived"].number ?? 0),
      ])
    }
    func sum(_ name: String, _ usage: JSONValue) -> String {
      "  \(name): \(count(usage["packets"])) packets, \(Scaled.bytes(usage["bytes"].number ?? 0))"
    }
    var lines = [sum("marked", status["marked"])]
    if status["scope"]["packets"].number ?? 0 > 0 { lines.append(sum("by markAll", status["scope"])) }
    if rows.count > 1 { lines += Columns.lines(rows, indent: 2) }
    let events = status["pathEvents"].items.filter { $0["count"].number ?? 0 > 0 }
    return lines + events.map { "  \($0["path"].text): \($0["event"].text) \(count($0["count"]))" }
  }

  private var fireflies: [String] {
    let fireflies = status["fireflies"]
    var rows = [["destination", "sent", "dropped", "errors", ""]]
    rows.append(row("remote ends", fireflies["remoteEnds"]))
    rows += fireflies["collectors"].items.map { row($0["collector"].text, $0) }
    let told = counts(
      fireflies,
      [
        ("start", "starts"), ("ongoing", "ongoing"), ("end", "ends"), ("relayed", "relayed"),
        ("private", "to private ends kept back"),
      ])
    return ["  told of: \(told)"] + Columns.lines(rows, indent: 2)
  }

  private func row(_ name: String, _ destination: JSONValue) -> [String] {
    let error = destination["lastError"].text
    let state =
      destination["failing"].isTrue ? "failing: \(error)" : error.isEmpty ? "" : "last error: \(error)"
    return [
      name, count(destination["sent"]), count(destination["dropped"]), count(destination["errors"]), state,
    ]
  }

  private var log: [String] {
    let log = status["log"]
    let sum = "  warnings \(count(log["warnings"])), errors \(count(log["errors"]))"
    return [sum]
      + log["last"].items.map { entry in
        let times = entry["count"].number ?? 1 > 1 ? " (\(count(entry["count"])) times)" : ""
        return "  \(entry["time"].text.prefix(19))Z \(entry["level"].text): \(entry["message"].text)\(times)"
      }
  }
}
