import Flow

/// Where fireflies are collected: a host, its UDP port, and what it wants to get.
public struct Collector: Hashable, Sendable {
  /// The port that fireflies go to by convention (scitags.org).
  public static let defaultPort: UInt16 = 10514

  /// A name or an address, an IPv6 address without brackets.
  public let host: String
  /// 1…65535.
  public let port: UInt16
  public var format: FireflyFormat
  /// Fireflies of these experiments only, in ascending order; empty for all.
  public let experiments: [UInt16]

  /// - Throws: `CollectorError` where `host` is neither a name nor an address, or `port` is 0.
  public init(
    host: String, port: UInt16 = Collector.defaultPort, format: FireflyFormat = .syslog,
    experiments: [UInt16] = []
  ) throws(CollectorError) {
    guard !host.isEmpty else { throw .empty }
    guard port > 0 else { throw .invalidPort("0", in: host) }
    try HostText.check(host)
    self.host = host
    self.port = port
    self.format = format
    self.experiments = Set(experiments).sorted()
  }

  /// Whether it gets fireflies of this experiment.
  public func wants(_ experiment: UInt16) -> Bool { experiments.isEmpty || experiments.contains(experiment) }

  /// Reads `host`, `host:port`, `[IPv6 address]` or `[IPv6 address]:port`.
  ///
  /// - Parameter defaultPort: where the text names none.
  public init(
    _ text: String, format: FireflyFormat = .syslog, defaultPort: UInt16 = Collector.defaultPort
  ) throws(CollectorError) {
    guard !text.isEmpty else { throw .empty }
    let (host, rest) = try Self.split(text)
    var port = defaultPort
    if let rest {
      guard !rest.isEmpty else { throw .missingPort(text) }
      guard rest.utf8.allSatisfy(\.isDigit), let number = UInt16(rest), number > 0 else {
        throw .invalidPort(String(rest), in: text)
      }
      port = number
    }
    try self.init(host: String(host), port: port, format: format)
  }

  /// The host, and what stands behind the colon that ends it; nil without a colon.
  private static func split(
    _ text: String
  ) throws(CollectorError) -> (host: Substring, port: Substring?) {
    guard text.hasPrefix("[") else {
      guard let colon = text.firstIndex(of: ":") else { return (text[...], nil) }
      let rest = text[text.index(after: colon)...]
      guard !rest.hasPrefix("//") else { throw .scheme("\(text[..<colon])://", in: text) }
      guard !rest.contains(":") else { throw .unbracketedIPv6(text) }
      guard colon > text.startIndex else { throw .missingHost(text) }
      return (text[..<colon], rest)
    }
    guard let bracket = text.firstIndex(of: "]") else { throw .unclosedBracket(text) }
    let address = text[text.index(after: text.startIndex)..<bracket]
    guard address.contains(":"), Address(String(address)) != nil else {
      throw .invalidIPv6(String(address), in: text)
    }
    let rest = text[text.index(after: bracket)...]
    guard !rest.isEmpty else { return (address, nil) }
    guard rest.hasPrefix(":") else { throw .unexpectedText(String(rest), in: text) }
    return (address, rest.dropFirst())
  }

  /// Whether `host` is an address, which needs no resolving.
  var isLiteral: Bool { Address(host) != nil }
}

extension Collector: CustomStringConvertible {
  public var description: String {
    host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }
}

/// What may stand for a host.
private enum HostText {
  static func check(_ host: String) throws(CollectorError) {
    if let address = Address(host) {
      guard !address.isLinkLocal || host.contains("%") else { throw .missingZone(host) }
      return
    }
    guard !host.contains(":") else { throw .invalidIPv6(host, in: host) }
    for character in host where !isAllowed(character) {
      throw .invalidCharacter(character, in: host)
    }
    // The resolver reads names such as 10.1 or 010.0.0.1 as addresses of its own making.
    let name = host.hasSuffix(".") ? host.dropLast() : host[...]
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    if let last = labels.last, !last.isEmpty, last.utf8.allSatisfy(\.isDigit) {
      throw .invalidIPv4(host)
    }
    guard name.utf8.count <= 253, labels.allSatisfy({ (1...63).contains($0.utf8.count) }) else {
      throw .invalidName(host)
    }
  }

  private static func isAllowed(_ character: Character) -> Bool {
    guard let byte = character.asciiValue else { return false }
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
      return true
    default: return false
    }
  }
}

extension UInt8 {
  fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
}
