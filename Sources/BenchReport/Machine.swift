/// Where, when and with what figures were taken.
public struct Machine: Codable, Sendable, Equatable {
  /// The processor's model, as the kernel has it.
  public var processor: String
  public var processors: Int
  public var architecture: String
  /// Whether the kernel runs under a hypervisor; figures of such machines spread more.
  public var isVirtual: Bool
  public var kernel: String
  /// The compiler's.
  public var swift: String
  /// Load averages as it began, of one, five and fifteen minutes.
  public var load: [Double]
  /// The commit that was measured, with "+changes" where the tree had others.
  public var commit: String
  /// When it began, RFC 3339 in UTC.
  public var date: String

  public init(
    processor: String, processors: Int, architecture: String, isVirtual: Bool, kernel: String, swift: String,
    load: [Double], commit: String, date: String
  ) {
    self.processor = processor
    self.processors = processors
    self.architecture = architecture
    self.isVirtual = isVirtual
    self.kernel = kernel
    self.swift = swift
    self.load = load
    self.commit = commit
    self.date = date
  }

  /// Others had more than a quarter of the processors as it began, so its figures are not the machine's best.
  public var isBusy: Bool { (load.first ?? 0) > Double(processors) / 4 }

  var loadText: String { load.map { fixed($0, 2) }.joined(separator: " ") }

  /// What of two machines has to be the same for their figures to be compared.
  var conditions: [(name: String, value: String)] {
    [
      ("processor", processor), ("processors", "\(processors)"), ("architecture", architecture),
      ("virtual machine", isVirtual ? "yes" : "no"), ("kernel", kernel), ("Swift", swift),
    ]
  }

  /// The model and whether there is a hypervisor, from the text of /proc/cpuinfo. ARM's has numbers instead of a name.
  public static func processor(cpuinfo: String) -> (name: String, isVirtual: Bool) {
    func value(_ key: String) -> String? {
      for line in cpuinfo.split(separator: "\n") where line.hasPrefix(key) {
        guard let colon = line.firstIndex(of: ":") else { continue }
        let value = line[line.index(after: colon)...].drop { $0 == " " }
        guard line[..<colon].dropFirst(key.count).allSatisfy(\.isWhitespace), !value.isEmpty else { continue }
        return String(value)
      }
      return nil
    }
    let flags = value("flags") ?? ""
    let isVirtual = flags.split(separator: " ").contains("hypervisor")
    if let model = value("model name") { return (model, isVirtual) }
    guard let maker = value("CPU implementer"), let part = value("CPU part") else {
      return ("unknown", isVirtual)
    }
    return ("implementer \(maker), part \(part)", isVirtual)
  }

  /// The version from what `swift --version` prints, or "unknown".
  public static func swift(version text: String) -> String {
    guard let range = text.firstRange(of: "Swift version ") else { return "unknown" }
    let version = text[range.upperBound...].prefix { !$0.isWhitespace }
    return version.isEmpty ? "unknown" : String(version)
  }
}
