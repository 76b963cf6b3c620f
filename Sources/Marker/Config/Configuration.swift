/// The settings in effect, and where each was said.
struct Configuration: Sendable {
  /// Where a setting's value comes from.
  enum Origin: Equatable, Sendable {
    /// Nobody said anything.
    case builtIn
    case file(line: Int)
    /// What flowd-go does where its file says nothing, and marker would do otherwise.
    case flowdGo
    case flag(String)
  }

  /// Something that the operator should know, at a place of the file or of the whole.
  struct Warning: Equatable, Sendable {
    let mark: SourceMark?
    let message: String
  }

  var settings = Settings()
  /// The file that was read, nil for none.
  var file: String?
  var warnings: [Warning] = []
  /// By the paths of settings; what is not in it is built in.
  private(set) var origins: [String: Origin] = [:]

  func origin(of path: String) -> Origin { origins[path] ?? .builtIn }

  mutating func set(_ origin: Origin, of path: String) {
    precondition(Setting.named(path) != nil, "there is no setting \(path)")
    origins[path] = origin
  }

  /// The warning as one line, with its place.
  func text(of warning: Warning) -> String {
    [file, warning.mark.map { "\($0.line):\($0.column)" }].compactMap(\.self).joined(separator: ":")
      + (file == nil ? "" : ": ") + warning.message
  }

  /// Where a setting was said, as a person reads it.
  func originText(of path: String) -> String {
    switch origin(of: path) {
    case .builtIn: "default"
    case .file(let line): "\(file ?? ""):\(line)"
    case .flowdGo: "flowd-go's default"
    case .flag(let flag): flag
    }
  }
}

/// Why there is no configuration: every mistake that was found, so that they can be mended at once.
struct ConfigurationError: Error, Equatable {
  let file: String
  let problems: [YAMLProblem]
  /// Where the file itself cannot be had.
  let reason: String?

  init(_ file: String, _ problems: [YAMLProblem]) {
    self.file = file
    self.problems = problems.sorted { $0.mark < $1.mark }
    reason = nil
  }

  init(_ file: String, _ reason: String) {
    self.file = file
    problems = []
    self.reason = reason
  }
}

extension ConfigurationError: CustomStringConvertible {
  var description: String {
    if let reason { return "\(file): \(reason)" }
    return problems.map { "\(file):\($0.mark.line):\($0.mark.column): \($0.message)" }.joined(separator: "\n")
  }
}
