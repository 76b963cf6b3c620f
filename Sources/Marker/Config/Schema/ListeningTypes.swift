import Firefly
import Flow

extension ValueType where Value == Endpoint {
  /// An address of this host and a UDP port.
  static let listeningAddress = ValueType(
    "an address of this host, address:port or [IPv6 address]:port; [::] is all of them"
  ) { node throws(YAMLProblem) in
    guard let text = node.text else {
      throw node.expected("an address of this host, address:port or [IPv6 address]:port")
    }
    let read: Collector
    // Written as a collector is, but a name would have to be resolved.
    do throws(CollectorError) {
      read = Address(text) == nil ? try Collector(text) : try Collector(host: text)
    } catch .missingZone(let address) {
      throw linkLocal(address, node)
    } catch {
      throw YAMLProblem(node.mark, "\(error)".replacing("collector \"", with: "address \""))
    }
    guard let address = Address(read.host) else {
      throw node.expected("an address of this host, not a name: address:port or [IPv6 address]:port")
    }
    guard !address.isLinkLocal else { throw linkLocal(read.host, node) }
    return Endpoint(address, read.port)
  } write: {
    YAMLText.scalar("\($0)")
  }

  private static func linkLocal(_ address: String, _ node: YAMLNode) -> YAMLProblem {
    YAMLProblem(node.mark, "\(address) is link-local; listen at [::] or at an address that is not")
  }
}

extension ValueType where Value == Network {
  static let network = ValueType("a network such as 192.0.2.0/24 or 2001:db8::/32, or an address") {
    node throws(YAMLProblem) in
    guard let text = node.text else {
      throw node.expected("a network such as 192.0.2.0/24 or 2001:db8::/32, or an address")
    }
    do throws(NetworkError) { return try Network(text: text) } catch {
      throw YAMLProblem(node.mark, "\(text): \(error)")
    }
  } write: {
    YAMLText.scalar("\($0)")
  }
}

extension ValueType where Value == PortRange {
  static let portRange = ValueType("a port, or a range of ports such as 5201-5300") {
    node throws(YAMLProblem) in
    guard let range = node.text.flatMap({ PortRange($0) }) else {
      throw node.expected("a port from 1 to 65535, or a range of ports such as 5201-5300")
    }
    return range
  } write: {
    "\($0)"
  }
}

extension ValueType where Value == Int {
  static let fireflyRate = integer(1...10_000_000)
  static let requestRate = integer(1...10_000_000)
}
