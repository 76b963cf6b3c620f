import Firefly
import Flow
import Logging

/// How a line of the log is written.
enum LogFormat: String, Sendable, CaseIterable {
  /// `time=… level=info msg="…" key=value`, as logfmt has it.
  case keyValue
  /// One object a line.
  case json

  /// A line without its end. Nothing of it, whoever said it, has a control character.
  ///
  /// - Parameter time: nil where whoever reads it notes the time anyway.
  func line(
    _ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata, at time: WallClockTime?
  ) -> String {
    var fields: [(String, String)] = []
    if let time { fields.append(("time", Timestamp.text(time))) }
    fields.append(("level", level.rawValue))
    fields.append(("msg", message))
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      // The first three are ours.
      fields.append((["time", "level", "msg"].contains(key) ? "\(key)_" : key, "\(value)"))
    }
    switch self {
    case .keyValue:
      return fields.map { "\($0.0)=\(Self.logfmt($0.1))" }.joined(separator: " ")
    case .json:
      return JSONText.object(fields.map { ($0.0, JSONText.quoted($0.1.escapingControls)) })
    }
  }

  /// A value as it is where it is one word, else quoted.
  private static func logfmt(_ value: String) -> String {
    let isPlain =
      !value.isEmpty
      && value.unicodeScalars.allSatisfy { scalar in
        scalar.value > 0x20 && scalar != "\"" && scalar != "=" && scalar != "\\"
          && !scalar.isControl
      }
    if isPlain { return value }
    var out = "\""
    for scalar in value.escapingControls.unicodeScalars {
      if scalar == "\"" || scalar == "\\" { out += "\\" }
      out.unicodeScalars.append(scalar)
    }
    return out + "\""
  }
}

extension Unicode.Scalar {
  /// What a terminal or a reader of lines may act on: C0, DEL and C1 controls, the separators of lines and paragraphs,
  /// and what turns the direction of text.
  fileprivate var isControl: Bool {
    switch value {
    case 0..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x2066...0x2069: true
    default: false
    }
  }
}

extension String {
  /// With controls written as Swift writes them, `\u{1b}`.
  var escapingControls: String {
    guard unicodeScalars.contains(where: \.isControl) else { return self }
    var out = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      case "\r": out += "\\r"
      case _ where scalar.isControl: out += "\\u{\(String(scalar.value, radix: 16))}"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}

extension Logger.Level {
  /// Of syslog (RFC 5424 §6.2.1), as journald takes it in front of a line (sd-daemon(3)).
  var priority: Int {
    switch self {
    case .trace, .debug: 7
    case .info: 6
    case .notice: 5
    case .warning: 4
    case .error: 3
    case .critical: 2
    }
  }
}
