/// What a command line asks for.
public enum BenchCommand: Equatable, Sendable {
  /// Benchmarks, and where their figures go beside the page. No path is none.
  case run([BenchName], Output, details: Bool)
  case compare(old: String, new: String)
  /// A page that was kept, printed.
  case page(String, Form)
  case soak(minutes: Int)
  /// So many packets through AF_XDP, their frames counted.
  case frames(packets: UInt64)
  /// A process of a benchmark's own, that holds or opens connections.
  case hold([String])
  case help

  public enum Output: Equatable, Sendable {
    case none
    case file(String)
    /// A file by date and commit.
    case named
  }

  public enum Form: Equatable, Sendable {
    case text(details: Bool)
    case markdown
    /// The tables of a document.
    case into(String)
  }

  public static let usage = """
    Usage:
      marker-bench [NAME...] [--json FILE] [--details]   run all benchmarks of the page, or some
      marker-bench compare OLD.json NEW.json             two runs beside each other
      marker-bench page FILE.json [--details | --markdown | --into DOCUMENT]
                                                         print a run's page, or put its tables into a document
      marker-bench soak MINUTES                          churn of all kinds, and what it leaves behind
      marker-bench inline --packets N                    so many packets through AF_XDP, their frames counted

    Benchmarks of the page: \(BenchName.allCases.filter(\.isOnPage).map(\.rawValue).joined(separator: " "))
    Others, by name only: \(BenchName.allCases.filter { !$0.isOnPage }.map(\.rawValue).joined(separator: " "))

    Figures come on standard output, progress on standard error. All that measures needs root. A run of the whole page is
    kept in build/bench/DATE-COMMIT.json, one of some benchmarks where --json says. --details prints figures that the
    page has no room for; the JSON has them always.

    """

  /// - Parameter arguments: without the program's name.
  public init(_ arguments: [String]) throws(UsageError) {
    let rest = Array(arguments.dropFirst())
    switch arguments.first {
    case "hold": self = .hold(rest)
    case "-h", "--help", "help": self = .help
    case "compare":
      guard rest.count == 2 else { throw UsageError("compare takes two files, the old one first") }
      self = .compare(old: rest[0], new: rest[1])
    case "page": self = try Self.page(rest)
    case "soak":
      guard rest.count == 1, let minutes = Int(rest[0]), minutes > 0 else {
        throw UsageError("soak takes a number of minutes, as in: marker-bench soak 10")
      }
      self = .soak(minutes: minutes)
    case "inline" where rest.first == "--packets":
      guard rest.count == 2, let packets = UInt64(rest[1]), packets > 0 else {
        throw UsageError("--packets takes a number, as in: marker-bench inline --packets 50000000")
      }
      self = .frames(packets: packets)
    default: self = try Self.run(arguments)
    }
  }

  private static func run(_ arguments: [String]) throws(UsageError) -> BenchCommand {
    var (wanted, output, details) = (Set<BenchName>(), Output?.none, false)
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      switch argument {
      case "--json":
        guard let file = rest.popFirst() else { throw UsageError("--json takes a file") }
        output = .file(file)
      case "--details": details = true
      default:
        guard !argument.hasPrefix("-") else { throw UsageError("there is no option \(argument)") }
        guard let name = BenchName(rawValue: argument) else {
          let names = BenchName.allCases.map(\.rawValue).joined(separator: " ")
          throw UsageError("no benchmark is called \(argument); there are: \(names)")
        }
        wanted.insert(name)
      }
    }
    let names = BenchName.allCases.filter { wanted.isEmpty ? $0.isOnPage : wanted.contains($0) }
    return .run(names, output ?? (wanted.isEmpty ? .named : .none), details: details)
  }

  private static func page(_ arguments: [String]) throws(UsageError) -> BenchCommand {
    var (files, forms) = ([String](), [Form]())
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      switch argument {
      case "--details": forms.append(.text(details: true))
      case "--markdown": forms.append(.markdown)
      case "--into":
        guard let document = rest.popFirst() else { throw UsageError("--into takes a document") }
        forms.append(.into(document))
      default:
        guard !argument.hasPrefix("-") else { throw UsageError("there is no option \(argument)") }
        files.append(argument)
      }
    }
    guard files.count == 1, forms.count <= 1 else {
      throw UsageError("page takes one file, and at most one of --details, --markdown and --into")
    }
    return .page(files[0], forms.first ?? .text(details: false))
  }
}

/// A command line that asks for nothing there is.
public struct UsageError: Error, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}
