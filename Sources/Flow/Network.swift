/// A range of addresses that share their first bits (RFC 4632 §3.1, RFC 4291 §2.3): `192.0.2.0/24`, `2001:db8::/32`.
public struct Network: Hashable, Sendable {
  /// The first address of the range.
  public let address: Address
  /// The bits that all addresses share, 0…32 for IPv4 and 0…128 for IPv6.
  public var length: Int { address.isIPv4 ? bits - 96 : bits }
  /// The same for IPv4 in its mapped form, 0…128.
  private let bits: Int

  /// - Throws: `NetworkError` where the length is out of range, or `address` is not the first of the range.
  public init(_ address: Address, length: Int) throws(NetworkError) {
    let longest = address.isIPv4 ? 32 : 128
    guard (0...longest).contains(length) else { throw .length(longest: longest) }
    bits = length + 128 - longest
    let first = address.prefix(bits)
    guard first == address else { throw .notTheFirst(Network(first: first, bits: bits)) }
    self.address = address
  }

  /// - Parameter bits: of the mapped form, for IPv4 too.
  init(first: Address, bits: Int) {
    address = first
    self.bits = bits
  }

  /// 127.0.0.0/8 and ::1/128 (RFC 6890 §2.2.2, §2.2.3).
  public static let loopback = [
    Network(first: Address(ipv4: 0x7f00_0000), bits: 104),
    Network(first: Address(high: 0, low: 1), bits: 128),
  ]

  /// 0.0.0.0/0.
  public static let allIPv4 = Network(first: Address(ipv4: 0), bits: 96)

  /// An IPv4 range holds no IPv6 address; `::/0` holds all IPv6 addresses and no IPv4 one.
  public func contains(_ other: Address) -> Bool {
    other.isIPv4 == address.isIPv4 && other.prefix(bits) == address
  }
}

extension Address {
  /// 127.0.0.0/8 or ::1.
  public var isLoopback: Bool { Network.loopback.contains { $0.contains(self) } }

  /// With all bits behind the first `count` cleared.
  fileprivate func prefix(_ count: Int) -> Address {
    // A shift by 64 and more gives 0.
    Address(
      high: high & (UInt64.max << max(0, 64 - count)),
      low: low & (UInt64.max << (128 - max(64, count))))
  }
}

extension Network: LosslessStringConvertible {
  /// Reads `address/length`, or an address alone, which is a range of one.
  public init?(_ description: String) {
    do throws(NetworkError) { self = try Network(text: description) } catch { return nil }
  }

  public init(text: String) throws(NetworkError) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, !first.contains("%"), let address = Address(String(first)) else {
      throw .notAnAddress
    }
    guard parts.count == 2 else {
      self = try Network(address, length: address.isIPv4 ? 32 : 128)
      return
    }
    guard let length = Int(parts[1]), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
      throw .length(longest: address.isIPv4 ? 32 : 128)
    }
    self = try Network(address, length: length)
  }

  public var description: String { "\(address)/\(length)" }
}

/// Why a text or a pair of values is no network.
public enum NetworkError: Error, Hashable, Sendable {
  case notAnAddress
  case length(longest: Int)
  /// Bits behind the length are set; the network that has this address is given.
  case notTheFirst(Network)
}

extension NetworkError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notAnAddress: "a network is an address, or address/length such as 192.0.2.0/24 or 2001:db8::/32"
    case .length(let longest): "the length of a network here is 0 to \(longest)"
    case .notTheFirst(let network): "bits behind the length are set; did you mean \(network)?"
    }
  }
}
