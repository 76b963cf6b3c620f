/// Why figures could not be kept, read or shown.
public enum PageError: Error, Equatable {
  /// A figure without a value, or with one that is no number.
  case noValues(BenchName, String)
  /// Two figures of a benchmark have one name.
  case twice(BenchName, String)
  case notEncoded(String)
  /// A file, and why.
  case unreadable(String, String)
  /// A file, and why.
  case unwritable(String, String)
  /// A file that is not what `marker-bench --json` writes, and why.
  case invalid(String, String)
  /// A document that has no place for the figures of a benchmark, or one for figures that do not exist.
  case noBlock(String, String)
  /// A document with a block that does not end.
  case openBlock(String, String)
}

extension PageError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noValues(let bench, let name): "\(bench.rawValue), \(name): it has no value"
    case .twice(let bench, let name): "\(bench.rawValue), \(name): two figures have this name"
    case .notEncoded(let why): "the figures cannot be written as JSON: \(why)"
    case .unreadable(let path, let why): "\(path) cannot be read: \(why)"
    case .unwritable(let path, let why): "\(path) cannot be written: \(why)"
    case .invalid(let path, let why):
      "\(path) is not a page of figures as marker-bench --json writes it: \(why)"
    case .noBlock(let path, let name):
      "\(path) has no place for the figures of \(name): a line \(DocumentBlocks.begin(name)), and below it "
        + DocumentBlocks.end
    case .openBlock(let path, let name):
      "\(path): there is no \(DocumentBlocks.end) below \(DocumentBlocks.begin(name))"
    }
  }
}
