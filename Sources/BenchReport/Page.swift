import Foundation

/// The figures of one run, and where they were taken.
public struct Page: Codable, Sendable, Equatable {
  /// A benchmark that broke off.
  public struct Failure: Codable, Sendable, Equatable {
    public let bench: BenchName
    public let error: String
  }

  public let machine: Machine
  public private(set) var figures: [Figure] = []
  public private(set) var failures: [Failure] = []

  public init(_ machine: Machine) { self.machine = machine }

  /// - Throws: `.noValues` and `.twice` where the figure could not be told, or told from another.
  public mutating func add(_ figure: Figure) throws(PageError) {
    try Self.check(figure, beside: figures)
    figures.append(figure)
  }

  public mutating func fail(_ bench: BenchName, _ error: any Error) {
    failures.append(Failure(bench: bench, error: "\(error)"))
  }

  private static func check(_ figure: Figure, beside others: some Sequence<Figure>) throws(PageError) {
    guard !figure.samples.values.isEmpty, figure.samples.values.allSatisfy(\.isFinite) else {
      throw .noValues(figure.bench, figure.name)
    }
    for other in others where other.bench == figure.bench && other.name == figure.name {
      throw .twice(figure.bench, figure.name)
    }
  }
}

extension Page {
  /// The page as JSON, with a newline at its end.
  public func json() throws(PageError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    } catch {
      throw .notEncoded("\(error)")
    }
  }

  /// Writes the JSON; folders on the way are made.
  public func write(to path: String) throws(PageError) {
    let text = try json()
    let file = TextFile(path: path)
    try file.makeFolders()
    try file.write(text)
  }

  /// Reads what `write(to:)` has written.
  public init(contentsOf path: String) throws(PageError) {
    try self.init(json: TextFile(path: path).read(), of: path)
  }

  /// - Parameter path: what errors call the text.
  public init(json: String, of path: String) throws(PageError) {
    do {
      self = try JSONDecoder().decode(Page.self, from: Data(json.utf8))
    } catch let error as DecodingError {
      throw .invalid(path, Self.words(error))
    } catch {
      throw .invalid(path, "\(error)")
    }
    for (index, figure) in figures.enumerated() {
      do throws(PageError) {
        try Self.check(figure, beside: figures[..<index])
      } catch {
        throw .invalid(path, "\(error)")
      }
    }
  }

  private static func words(_ error: DecodingError) -> String {
    func place(_ context: DecodingError.Context) -> String {
      let place = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }
      return place.isEmpty ? "" : " in \(place.joined(separator: " "))"
    }
    switch error {
    case .keyNotFound(let key, let context): return "no \"\(key.stringValue)\"\(place(context))"
    case .valueNotFound(_, let context): return "no value\(place(context))"
    case .typeMismatch(let type, let context): return "not of the type \(type)\(place(context))"
    case .dataCorrupted(let context):
      return context.codingPath.isEmpty ? "it is not JSON" : "\(context.debugDescription)\(place(context))"
    @unknown default: return "\(error)"
    }
  }
}
