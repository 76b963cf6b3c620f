import Firefly
import Flow
import Glibc
import Linux

/// A registry of experiments and activities as scitags.org serves it (https://api.scitags.org/registry).
struct RegistryFile: Sendable {
  /// Where `marker registry update` puts it and every command looks for it.
  static let defaultPath = "/var/lib/marker/registry.json"
  /// Bytes; the registry of 2025 has 10,000.
  static let largest = 4 << 20

  let registry: Registry
  /// Nil for the one that is built in.
  let path: String?

  /// The registry of a file, of the default one where none is named and that is there, else the one built in.
  ///
  /// - Throws: where the file cannot be read or is broken. It is never passed over in silence.
  static func inUse(_ path: String? = nil) throws(RegistryProblem) -> RegistryFile {
    guard let path = path ?? (access(defaultPath, F_OK) == 0 ? defaultPath : nil) else {
      return RegistryFile(registry: .embedded, path: nil)
    }
    return RegistryFile(registry: try read(path), path: path)
  }

  static func read(_ path: String) throws(RegistryProblem) -> Registry {
    let bytes: [UInt8]
    do throws(SystemError) { bytes = try contents(of: path, limit: largest) } catch {
      throw RegistryProblem(source: path, reason: "\(error)")
    }
    return try parse(bytes, source: path)
  }

  /// - Parameter source: for the error.
  static func parse(_ bytes: [UInt8], source: String) throws(RegistryProblem) -> Registry {
    guard bytes.count <= largest else {
      throw RegistryProblem(source: source, reason: "more than \(largest) bytes, which no registry has")
    }
    var draft = RegistryDraft()
    let problem = bytes.withUnsafeBytes { bytes -> JSONProblem? in
      var reader = JSONReader(bytes)
      do throws(JSONProblem) {
        try draft.read(&reader)
        try reader.end()
      } catch { return error }
      return nil
    }
    if let problem {
      throw RegistryProblem(
        source: source, reason: (problem.field.isEmpty ? "" : "\(problem.field): ") + problem.reason)
    }
    return Registry(modified: draft.modified, experiments: draft.experiments)
  }

  /// Which it is, for people.
  var description: String {
    let date = registry.modified.isEmpty ? "of no date" : "of \(registry.modified)"
    return "registry \(date), \(path ?? "built in"), \(registry.experiments.count) experiments"
  }
}

/// Why something is no registry.
struct RegistryProblem: Error, CustomStringConvertible {
  let source: String
  let reason: String
  var description: String { "\(source): \(reason)" }
}

/// A registry while it is read. All that is not known is passed over; what is known has to be right.
private struct RegistryDraft {
  var modified = ""
  var experiments: [Registry.Experiment] = []
  private var numbers: Set<Int> = []
  private var names: Set<String> = []

  mutating func read(_ reader: inout JSONReader) throws(JSONProblem) {
    let start = reader.offset
    try reader.object { reader, key throws(JSONProblem) in
      switch key {
      case "experiments":
        try reader.array { reader throws(JSONProblem) in try readExperiment(&reader) }
      case "modified":
        modified = try reader.string()
        guard Timestamp.read(Array(modified.utf8).span) != nil else {
          throw JSONProblem(
            offset: reader.offset, field: "modified", reason: "expected a time such as 2025-09-04T12:01:55Z")
        }
      default: try reader.skip()
      }
    }
    guard !experiments.isEmpty else {
      throw JSONProblem(offset: start, field: "experiments", reason: "expected one at least")
    }
    experiments.sort { $0.number < $1.number }
  }

  private mutating func readExperiment(_ reader: inout JSONReader) throws(JSONProblem) {
    var (name, number) = ("", -1)
    var activities: [Registry.Activity] = []
    let start = reader.offset
    try reader.object { reader, key throws(JSONProblem) in
      switch key {
      case "expName": name = try Self.name(&reader, key)
      case "expId": number = try Self.number(&reader, key, 1...1023)
      case "activities":
        try reader.array { reader throws(JSONProblem) in
          let activity = try Self.activity(&reader)
          guard !activities.contains(where: { $0.number == activity.number }) else {
            throw JSONProblem(
              offset: start, field: "experiments.activities",
              reason: "activity \(activity.number) of \(name) is there twice")
          }
          activities.append(activity)
        }
      default: try reader.skip()
      }
    }
    guard !name.isEmpty, number > 0 else {
      throw JSONProblem(
        offset: start, field: "experiments",
        reason: "an experiment without expName or expId at byte \(start + 1)")
    }
    guard numbers.insert(number).inserted, names.insert(name.lowercased()).inserted else {
      throw JSONProblem(
        offset: start, field: "experiments", reason: "experiment \(number), \(name), is there twice")
    }
    experiments.append(
      Registry.Experiment(
        number: UInt16(number), name: name, activities: activities.sorted { $0.number < $1.number }))
  }

  private static func activity(_ reader: inout JSONReader) throws(JSONProblem) -> Registry.Activity {
    var (name, number) = ("", -1)
    let start = reader.offset
    try reader.object { reader, key throws(JSONProblem) in
      switch key {
      case "activityName": name = try Self.name(&reader, key)
      case "activityId": number = try Self.number(&reader, key, SciTag.activities)
      default: try reader.skip()
      }
    }
    guard !name.isEmpty, number >= 0 else {
      throw JSONProblem(
        offset: start, field: "experiments.activities",
        reason: "an activity without activityName or activityId at byte \(start + 1)")
    }
    return Registry.Activity(number: UInt8(number), name: name)
  }

  private static func name(_ reader: inout JSONReader, _ key: String) throws(JSONProblem) -> String {
    let name = try reader.string()
    // They are printed on terminals, and written where a line is a record.
    let isPlain = name.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f..<0xa0).contains($0.value) }
    guard !name.isEmpty, name.utf8.count <= 128, isPlain else {
      throw JSONProblem(
        offset: reader.offset, field: key,
        reason: "expected 1 to 128 bytes without control characters at byte \(reader.offset + 1)")
    }
    return name
  }

  private static func number(
    _ reader: inout JSONReader, _ key: String, _ range: ClosedRange<Int>
  ) throws(JSONProblem) -> Int {
    let number = try reader.integer()
    guard range.contains(number) else {
      throw JSONProblem(
        offset: reader.offset, field: key,
        reason: "expected \(range.lowerBound) to \(range.upperBound), not \(number)")
    }
    return number
  }
}

/// Reads a file, or standard input for `-`, as a whole.
///
/// - Parameter limit: the most bytes; of a larger one so many and one more are returned.
func contents(of path: String, limit: Int) throws(SystemError) -> [UInt8] {
  let file = try OpenFile(path)
  return try file.contents(limit: limit)
}

extension OpenFile {
  func contents(limit: Int) throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count <= limit {
      let count = try system("read") { Glibc.read(raw, &room, min(room.count, limit + 1 - bytes.count)) }
      if count == 0 { break }
      bytes += room[..<count]
    }
    return bytes
  }
}
