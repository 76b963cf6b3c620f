/// One setting of marker's own configuration: its key, its meaning, and where its value is kept. The one source of
/// what the file, the command line's overrides and the documentation say of it.
struct Setting: Sendable {
  let path: String
  /// What may stand there, as it follows "expected".
  let form: String
  let summary: String
  /// The option that overrides it, if any.
  let flag: String?
  let read: @Sendable (YAMLNode, inout Settings) throws(YAMLProblem) -> Void
  /// The value, on one line.
  let write: @Sendable (Settings) -> String

  init<Value: Sendable>(
    _ path: String, _ place: any WritableKeyPath<Settings, Value> & Sendable, _ type: ValueType<Value>,
    _ summary: String, flag: String? = nil
  ) {
    self.path = path
    self.form = type.form
    self.summary = summary
    self.flag = flag
    read = { node, settings throws(YAMLProblem) in settings[keyPath: place] = try type.read(node) }
    write = { type.write($0[keyPath: place]) }
  }

  /// The value as it is without a configuration.
  var defaultText: String { write(Settings()) }
}
