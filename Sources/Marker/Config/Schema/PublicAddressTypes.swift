import Firefly
import Flow

extension ValueType where Value == [Address: Address] {
  /// Which local address is known by which outside.
  static let publicAddresses = ValueType("a section of PRIVATE ADDRESS: PUBLIC ADDRESS") {
    node throws(YAMLProblem) in
    guard case .mapping(let entries) = node.content else {
      throw node.expected("a section of entries such as \"10.0.0.1: 192.0.2.1\"")
    }
    var names: [Address: Address] = [:]
    for entry in entries {
      let local = try address(entry.key, at: entry.mark)
      guard let text = entry.value.text else { throw entry.value.expected("an address") }
      let name = try address(text, at: entry.value.mark)
      guard local.isIPv4 == name.isIPv4 else {
        throw YAMLProblem(entry.value.mark, "\(local) and \(name) are of two families: NAT keeps the family")
      }
      // `::ffff:10.0.0.1` is 10.0.0.1 once more.
      guard names.updateValue(name, forKey: local) == nil else {
        throw YAMLProblem(entry.mark, "\(local) stands twice")
      }
    }
    return names
  } write: { names in
    let sorted = names.map { ("\($0.key)", "\($0.value)") }.sorted { $0.0 < $1.0 }
    return YAMLText.mapping(sorted.map { (YAMLText.scalar($0.0), YAMLText.scalar($0.1)) })
  }

  private static func address(_ text: String, at mark: SourceMark) throws(YAMLProblem) -> Address {
    guard !text.contains("%"), let address = Address(text), !address.isUnspecified, !address.isMulticast
    else {
      throw YAMLProblem(mark, "expected the address of a host, not \"\(text)\"")
    }
    return address
  }
}

extension ValueType where Value == STUNServer {
  static let stunServer = ValueType("host, host:port or [IPv6 address]:port") { node throws(YAMLProblem) in
    guard let text = node.text else { throw node.expected("host, host:port or [IPv6 address]:port") }
    do throws(CollectorError) { return try STUNServer(text) } catch {
      throw YAMLProblem(node.mark, "\(error)".replacing("collector", with: "server"))
    }
  } write: {
    YAMLText.scalar("\($0)")
  }
}
