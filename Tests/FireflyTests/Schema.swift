import Flow
import Foundation

/// As much of JSON Schema 2020-12 as the firefly schema uses.
struct Schema {
  private let root: JSON

  init(named name: String) throws {
    let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let file = tests.appending(path: "Fixtures/schema/\(name)")
    root = try JSON(String(contentsOf: file, encoding: .utf8))
  }

  /// What in the value the schema forbids; nothing where it is valid.
  func violations(in value: JSON) -> [String] { Self.violations(in: value, of: root, at: "") }

  private static func violations(in value: JSON, of schema: JSON, at path: String) -> [String] {
    if schema == .boolean(false) { return ["\(path) is forbidden"] }
    var found: [String] = []
    if let type = schema["type"]?.string, type != value.type { found.append("\(path) is no \(type)") }
    if case .array(let values)? = schema["enum"], !values.contains(value) {
      found.append("\(path) is none of the enum")
    }
    if let constant = schema["const"], constant != value { found.append("\(path) is not the constant") }
    if case .integer(let number) = value {
      if case .integer(let minimum)? = schema["minimum"], number < minimum {
        found.append("\(path) < minimum")
      }
      if case .integer(let maximum)? = schema["maximum"], number > maximum {
        found.append("\(path) > maximum")
      }
    }
    if let format = schema["format"]?.string, let text = value.string, !text.has(format: format) {
      found.append("\(path) is no \(format)")
    }
    found += memberViolations(in: value, of: schema, at: path)
    if let condition = schema["if"] {
      let branch = violations(in: value, of: condition, at: path).isEmpty ? "then" : "else"
      if let branch = schema[branch] { found += violations(in: value, of: branch, at: path) }
    }
    if case .array(let choices)? = schema["oneOf"] {
      let valid = choices.filter { violations(in: value, of: $0, at: path).isEmpty }
      if valid.count != 1 { found.append("\(path) matches \(valid.count) of oneOf") }
    }
    return found
  }

  private static func memberViolations(in value: JSON, of schema: JSON, at path: String) -> [String] {
    guard case .object(let members) = value else { return [] }
    var found: [String] = []
    if case .array(let required)? = schema["required"] {
      for key in required.compactMap(\.string) where members[key] == nil {
        found.append("\(path)/\(key) is missing")
      }
    }
    for (key, member) in members {
      if let known = schema["properties"]?[key] {
        found += violations(in: member, of: known, at: "\(path)/\(key)")
      } else if schema["additionalProperties"] == .boolean(false) {
        found.append("\(path)/\(key) is unknown")
      }
    }
    return found
  }
}

extension JSON {
  fileprivate var type: String {
    switch self {
    case .object: "object"
    case .array: "array"
    case .string: "string"
    case .integer: "integer"
    case .fraction: "number"
    case .boolean: "boolean"
    case .null: "null"
    }
  }
}

extension String {
  fileprivate func has(format: String) -> Bool {
    switch format {
    case "ipv4": Address(self)?.isIPv4 == true
    case "ipv6": Address(self)?.isIPv4 == false
    // RFC 3339 §5.6.
    case "date-time":
      wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/) != nil
    default: false
    }
  }
}
