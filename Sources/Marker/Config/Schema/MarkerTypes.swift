import Flow
import XDP

extension ValueType where Value == String {
  /// An interface's name or pattern. The kernel's names have at most 15 bytes (IFNAMSIZ, linux/if.h).
  static let interface = ValueType("the name of an interface, or a pattern such as \"eth*\"") {
    node throws(YAMLProblem) in
    guard let text = node.text, (1...15).contains(text.utf8.count), !text.contains("/"),
      text.unicodeScalars.allSatisfy({ $0.value > 0x20 })
    else {
      throw node.expected("the name of an interface, 1 to 15 characters, or a pattern such as \"eth*\"")
    }
    return text
  } write: {
    YAMLText.scalar($0)
  }
}

extension ValueType where Value == String {
  /// One interface.
  static let device = ValueType("the name of an interface") { node throws(YAMLProblem) in
    let name = try interface.read(node)
    guard !InterfaceSelection.isPattern(name) else {
      throw node.expected("the name of one interface, not a pattern")
    }
    return name
  } write: {
    YAMLText.scalar($0)
  }
}

extension ValueType where Value == Int {
  static let maxFlows = integer(1...16_000_000)
}

extension ValueType where Value == Int64 {
  static let idleTimeout = duration(upTo: 31_536_000)
  static let socketPeriod = duration(upTo: 3600)
}

extension ValueType where Value == Int64? {
  /// Nil for never, which 0 means too.
  static let fireflyPeriod: ValueType = {
    let type = ValueType.optional(ValueType<Int64>.duration(upTo: 86_400), none: "none")
    return ValueType(type.form) { node throws(YAMLProblem) in
      node.plain == "0" ? nil : try type.read(node)
    } write: {
      type.write($0)
    }
  }()
}

extension ValueType where Value == SciTag {
  static let tag = ValueType("experiment/activity, by number or name, such as atlas/perfsonar or 2/1") {
    node throws(YAMLProblem) in
    guard let text = node.text, let slash = text.firstIndex(of: "/") else {
      throw node.expected("experiment/activity, by number or name, such as atlas/perfsonar or 2/1")
    }
    do throws(SciTagError) {
      return try Registry.embedded.tag(
        experiment: text[..<slash].trimmed, activity: text[text.index(after: slash)...].trimmed)
    } catch {
      throw YAMLProblem(node.mark, "\(error)")
    }
  } write: {
    YAMLText.scalar("\($0)")
  }
}

extension ValueType where Value == TCXOrder {
  static let order: ValueType = {
    let form = "first, last, or before or after a program or link by its number, such as \"before program 7\""
    return ValueType(form) { node throws(YAMLProblem) in
      guard let text = node.text, let order = TCXOrder(text) else { throw node.expected(form) }
      return order
    } write: {
      YAMLText.scalar($0.text)
    }
  }()
}

extension ValueType where Value == APIAddress {
  static let apiAddress = ValueType(
    "an address and port such as 127.0.0.1:7777 or [::1]:7777, or a path from / on"
  ) {
    node throws(YAMLProblem) in
    let form = "an address and port such as 127.0.0.1:7777 or [::1]:7777, or a path from / on"
    guard let text = node.text else { throw node.expected(form) }
    // The longest path of a unix socket, sockaddr_un, has 108 bytes with its end.
    if text.hasPrefix("/"), text.utf8.count < 108 { return .unix(text) }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0
    else {
      throw node.expected(form)
    }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      throw node.expected(form)
    }
    guard let address = Address(String(host)) else { throw node.expected(form) }
    return .tcp(Endpoint(address, port))
  } write: {
    YAMLText.scalar("\($0)")
  }
}

extension ValueType where Value == Endpoint {
  /// An address of this host and a TCP port.
  static let tcpAddress = ValueType("an address and port such as 127.0.0.1:9464 or [::1]:9464") {
    node throws(YAMLProblem) in
    let form = "an address and port such as 127.0.0.1:9464 or [::1]:9464"
    guard let address = try? ValueType<APIAddress>.apiAddress.read(node), case .tcp(let end) = address else {
      throw node.expected(form)
    }
    return end
  } write: {
    YAMLText.scalar("\($0)")
  }
}

extension ValueType where Value == CodePointMap {
  /// The entries only; the preset is a setting of its own.
  static let codePointEntries = ValueType(
    "a section of EXPERIMENT: DSCP, EXPERIMENT/ACTIVITY: DSCP and default: DSCP, a DSCP being 0 to 63 or none"
  ) { node throws(YAMLProblem) in
    var map = CodePointMap()
    guard case .mapping(let entries) = node.content else {
      throw node.expected("a section of entries such as \"2: 11\", \"3/14: 15\" or \"default: none\"")
    }
    for entry in entries {
      guard let value = entry.value.text else {
        throw entry.value.expected("a DSCP, 0 to 63, or none")
      }
      do throws(CodePointMapError) {
        try map.add(entry: entry.key, value)
      } catch {
        throw YAMLProblem(entry.mark, "\(error)")
      }
    }
    return map
  } write: { map in
    YAMLText.mapping(map.entries.map { (YAMLText.scalar($0.name), $0.value) })
  }
}

extension Substring {
  fileprivate var trimmed: String {
    var text = drop { $0 == " " || $0 == "\"" }
    while text.last == " " || text.last == "\"" { text.removeLast() }
    return String(text)
  }
}
