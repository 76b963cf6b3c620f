import Glibc
import Linux

extension Configuration {
  /// Where the configuration is without `--config`.
  static let defaultFile = "/etc/marker/marker.yaml"
  /// Where flowd-go has its own.
  static let flowdGoFile = "/etc/flowd-go/conf.yaml"
  /// The largest file, bytes.
  private static let sizeLimit = 1 << 20

  /// Reads a file of marker's or of flowd-go's.
  init(file path: String) throws(ConfigurationError) {
    let text: [UInt8]
    do throws(SystemError) {
      text = try Self.contents(of: path)
    } catch {
      throw ConfigurationError(path, "cannot be read: \(String(cString: strerror(error.code)))")
    }
    guard text.count <= Self.sizeLimit else {
      throw ConfigurationError(path, "is larger than \(Self.sizeLimit) bytes, which no configuration is")
    }
    try self.init(text: text, file: path)
  }

  /// - Parameter file: its name, for messages.
  init(text: [UInt8], file: String) throws(ConfigurationError) {
    let root: YAMLNode?
    do throws(YAMLProblem) {
      root = try YAMLParser.parse(text)
    } catch {
      throw ConfigurationError(file, [error])
    }
    guard let root else {
      self.init()
      self.file = file
      warnings.append(Warning(mark: nil, message: "nothing is set; all is as by default"))
      return
    }
    if FlowdGoConfiguration.isMeant(by: root) {
      try self.init(flowdGo: root, file: file)
    } else {
      try self.init(marker: root, file: file)
    }
  }

  private init(marker root: YAMLNode, file: String) throws(ConfigurationError) {
    self.file = file
    var settings = Settings()
    let reading = Setting.schema.read(root, into: &settings)
    if let problem = Self.mixture(root, FlowdGoConfiguration.schema, "flowd-go's", "marker's") {
      throw ConfigurationError(file, [problem])
    }
    guard reading.problems.isEmpty else { throw ConfigurationError(file, reading.problems) }
    self.settings = settings
    for setting in Setting.all {
      if let place = reading.places[setting.path] { set(.file(line: place.line), of: setting.path) }
    }
  }

  /// The first key that the other kind of file has.
  static func mixture<Other>(
    _ root: YAMLNode, _ other: Schema<Other>, _ foreign: String, _ own: String
  ) -> YAMLProblem? {
    guard case .mapping(let entries) = root.content,
      let stray = entries.first(where: { other.hasTopLevel($0.key) })
    else { return nil }
    return YAMLProblem(
      stray.mark,
      "\"\(stray.key)\" is \(foreign), but this file is \(own): it is one or the other; "
        + "`marker config convert` makes marker's of flowd-go's")
  }

  /// One byte more than the limit tells that a file is too large. Never waits: what is no file has no contents.
  private static func contents(of path: String) throws(SystemError) -> [UInt8] {
    let file = try Descriptor("open", path) { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) }
    var status = stat()
    try system("fstat", path) { fstat(file.raw, &status) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw SystemError("open", path, code: status.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL)
    }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while bytes.count <= sizeLimit {
      let count = try system("read", path) { read(file.raw, &chunk, chunk.count) }
      if count == 0 { break }
      bytes.append(contentsOf: chunk[..<Int(count)])
    }
    return bytes
  }
}
