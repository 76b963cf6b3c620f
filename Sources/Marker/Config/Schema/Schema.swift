/// The keys that a kind of configuration file has, and what each sets.
struct Schema<Target>: Sendable {
  /// A key with a value; its sections are the parts of its path before the last.
  struct Key: Sendable {
    /// `dscp.preset` is `preset` in the section `dscp`.
    let path: String
    let read: @Sendable (YAMLNode, inout Target) throws(YAMLProblem) -> Void

    init(
      _ path: String, read: @escaping @Sendable (YAMLNode, inout Target) throws(YAMLProblem) -> Void
    ) {
      self.path = path
      self.read = read
    }
  }

  let keys: [Key]
  /// Whether a key without a value is as good as none.
  let allowsEmptyKeys: Bool
  private let places: [String: Int]
  /// Each section's keys and sections, "" being the document.
  private let children: [String: [String]]

  init(_ keys: [Key], allowsEmptyKeys: Bool = false) {
    self.keys = keys
    self.allowsEmptyKeys = allowsEmptyKeys
    var places: [String: Int] = [:]
    var children: [String: [String]] = [:]
    for (place, key) in keys.enumerated() {
      places[key.path] = place
      var section = ""
      for part in key.path.split(separator: ".").map(String.init) {
        if children[section, default: []].contains(part) == false {
          children[section, default: []].append(part)
        }
        section = Self.join(section, part)
      }
    }
    self.places = places
    self.children = children
  }

  /// What was found in a document.
  struct Reading {
    /// Where each key and section that is there begins, by its path.
    var places: [String: SourceMark] = [:]
    var problems: [YAMLProblem] = []
  }

  /// Reads all of a document that can be read; what cannot is in the problems.
  func read(_ root: YAMLNode, into target: inout Target) -> Reading {
    var reading = Reading()
    read(root, section: "", into: &target, &reading)
    return reading
  }

  private func read(_ node: YAMLNode, section: String, into target: inout Target, _ reading: inout Reading) {
    guard case .mapping(let entries) = node.content else {
      let known = (children[section] ?? []).joined(separator: ", ")
      reading.problems.append(
        node.expected(
          section.isEmpty
            ? "lines of the form key: value (\(known))" : "a section with keys of \(section) (\(known))"
        ))
      return
    }
    for entry in entries {
      let path = Self.join(section, entry.key)
      if let place = places[path] {
        if entry.value.isNull, allowsEmptyKeys { continue }
        reading.places[path] = entry.mark
        do throws(YAMLProblem) {
          try keys[place].read(entry.value, &target)
        } catch {
          reading.problems.append(YAMLProblem(error.mark, "\(path): \(error.message)"))
        }
      } else if children[path] != nil {
        guard !entry.value.isNull else { continue }
        reading.places[path] = entry.mark
        read(entry.value, section: path, into: &target, &reading)
      } else {
        reading.problems.append(YAMLProblem(entry.mark, unknown(entry.key, in: section)))
      }
    }
  }

  /// Whether the document itself has this key or section.
  func hasTopLevel(_ name: String) -> Bool { children[""]?.contains(name) ?? false }

  private func unknown(_ key: String, in section: String) -> String {
    let known = children[section] ?? []
    let place = section.isEmpty ? "" : " in \(section)"
    if let near = Nearest.of(key, in: known) {
      return "unknown key \"\(key)\"\(place); did you mean \"\(near)\"?"
    }
    let elsewhere = keys.map(\.path).filter { $0 == key || $0.hasSuffix(".\(key)") }
    if let path = elsewhere.first {
      return "unknown key \"\(key)\"\(place); it is known as \(path)"
    }
    return "unknown key \"\(key)\"\(place); known here: \(known.joined(separator: ", "))"
  }

  private static func join(_ section: String, _ name: String) -> String {
    section.isEmpty ? name : "\(section).\(name)"
  }
}
