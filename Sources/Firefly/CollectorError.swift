/// Why a text does not name a collector.
public enum CollectorError: Error, Hashable, Sendable {
  case empty
  /// Nothing before the port.
  case missingHost(String)
  /// `host:` with nothing behind the colon.
  case missingPort(String)
  /// Not a number from 1 to 65535.
  case invalidPort(String, in: String)
  /// More than one colon outside of brackets.
  case unbracketedIPv6(String)
  case unclosedBracket(String)
  /// Between the brackets is no IPv6 address.
  case invalidIPv6(String, in: String)
  /// Behind the closing bracket is something that is no port.
  case unexpectedText(String, in: String)
  /// A dotted number that is not an IPv4 address.
  case invalidIPv4(String)
  /// fe80::/10 without `%interface`.
  case missingZone(String)
  /// A URL.
  case scheme(String, in: String)
  case invalidCharacter(Character, in: String)
  /// A name of more than 253 characters, or a part between its dots that is empty or longer than 63
  /// (RFC 1035 §2.3.4).
  case invalidName(String)
}

extension CollectorError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .empty:
      "a collector's address is empty; write host, host:port or [IPv6 address]:port"
    case .missingHost(let text):
      "collector \"\(text)\" has no host before the port; write host:port"
    case .missingPort(let text):
      "collector \"\(text)\" has no port behind the colon; write host:port, or host alone for port "
        + "\(Collector.defaultPort)"
    case .invalidPort(let port, let text):
      "collector \"\(text)\" has port \"\(port)\"; a port is a number from 1 to 65535"
    case .unbracketedIPv6(let text):
      "collector \"\(text)\" has several colons; an IPv6 address stands in brackets: [2001:db8::1] or "
        + "[2001:db8::1]:\(Collector.defaultPort)"
    case .unclosedBracket(let text):
      "collector \"\(text)\" opens a bracket and doesn't close it; write [IPv6 address]:port"
    case .invalidIPv6(let address, let text):
      "collector \"\(text)\" has \"\(address)\" in brackets, which is no IPv6 address"
    case .unexpectedText(let rest, let text):
      "collector \"\(text)\" has \"\(rest)\" behind the bracket; only :port may follow it"
    case .invalidIPv4(let address):
      "collector \"\(address)\" is no IPv4 address: four numbers from 0 to 255, without leading zeroes"
    case .missingZone(let address):
      "collector \"\(address)\" is link-local and needs its interface: [\(address)%eth0]"
    case .scheme(let scheme, let text):
      "collector \"\(text)\" is a URL; leave out \"\(scheme)\", fireflies always go by UDP"
    case .invalidCharacter(let character, let text):
      "collector \"\(text)\" has \"\(character)\" in its name; "
        + "names have letters, digits, \"-\", \"_\" and \".\""
    case .invalidName(let name):
      "collector \"\(name)\" is no host name: at most 253 characters, 1 to 63 between two dots"
    }
  }
}
