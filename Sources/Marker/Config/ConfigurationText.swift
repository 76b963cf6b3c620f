extension Configuration {
  /// Every setting's value as marker.yaml has it, with where it comes from.
  var text: String {
    text(of: Setting.all) { "  # \(originText(of: $0.path))" }
  }

  /// marker.yaml with what this configuration says, and nothing of what is as by default.
  var ownText: String {
    text(of: Setting.all.filter { origin(of: $0.path) != .builtIn }) { setting in
      if case .flowdGo = origin(of: setting.path) { "  # \(originText(of: setting.path))" } else { "" }
    }
  }

  private func text(of settings: [Setting], note: (Setting) -> String) -> String {
    var lines: [(text: String, note: String)] = []
    var section = ""
    for setting in settings {
      let parts = setting.path.split(separator: ".")
      let prefix = parts.dropLast().joined(separator: ".")
      if prefix != section, !prefix.isEmpty { lines.append(("\(prefix):", "")) }
      section = prefix
      let indent = prefix.isEmpty ? "" : "  "
      lines.append(("\(indent)\(parts.last ?? ""): \(setting.write(self.settings))", note(setting)))
    }
    // Notes stand in one column, but for lines that are too long for that.
    let width = lines.map(\.text.count).filter { $0 <= 48 }.max() ?? 0
    return lines.map { line in
      line.note.isEmpty
        ? line.text : line.text + String(repeating: " ", count: max(0, width - line.text.count)) + line.note
    }.joined(separator: "\n") + (lines.isEmpty ? "" : "\n")
  }
}
