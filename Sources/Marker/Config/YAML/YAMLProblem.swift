/// What is wrong at a place of a configuration.
struct YAMLProblem: Error, Equatable {
  let mark: SourceMark
  let message: String

  init(_ mark: SourceMark, _ message: String) {
    self.mark = mark
    self.message = message
  }
}
