public import Flow

/// Why a datagram is not a firefly: what is wrong, where, and what would be right there.
public struct FireflyError: Error, Equatable, Sendable {
  public enum Reason: Equatable, Sendable {
    /// More than `FireflyDecoder.largestDatagram` bytes.
    case tooLarge
    /// No `{` in it.
    case noJSON
    case notUTF8
    /// Objects and arrays in each other beyond `FireflyDecoder.deepestNesting`.
    case tooDeep
    /// Not JSON (RFC 8259).
    case syntax(Syntax)
    case missing(Field)
    /// The field's value is none that it can have.
    case value(Field)
    case tag(SciTagError)
    /// One address is IPv4, the other IPv6.
    case mixedFamilies
  }

  /// What JSON has at a place where something else stands.
  public enum Syntax: Sendable {
    case value, key, colon, commaOrEnd, endOfText, endOfString, controlCharacter, escape, surrogate, number
  }

  /// What a firefly tells, as far as it means something here.
  public enum Field: String, Sendable, CaseIterable {
    case lifecycle = "flow-lifecycle"
    case state = "flow-lifecycle.state"
    case currentTime = "flow-lifecycle.current-time"
    case startTime = "flow-lifecycle.start-time"
    case endTime = "flow-lifecycle.end-time"
    case flow = "flow-id"
    case source = "flow-id.src-ip"
    case destination = "flow-id.dst-ip"
    case transport = "flow-id.protocol"
    case sourcePort = "flow-id.src-port"
    case destinationPort = "flow-id.dst-port"
    case context
    case experiment = "context.experiment-id"
    case activity = "context.activity-id"
    case application = "context.application"
    case usage
    case sent = "usage.sent"
    case received = "usage.received"
  }

  public let reason: Reason
  /// The first byte that was not right, counted from the datagram's first, which is 0.
  public let offset: Int

  init(_ reason: Reason, at offset: Int) {
    self.reason = reason
    self.offset = offset
  }
}

extension FireflyError: CustomStringConvertible {
  public var description: String { "byte \(offset): \(reason)" }
}

extension FireflyError.Reason: CustomStringConvertible {
  public var description: String {
    switch self {
    case .tooLarge: "expected at most \(FireflyDecoder.largestDatagram) bytes"
    case .noJSON: "expected JSON, which begins with {"
    case .notUTF8: "expected UTF-8"
    case .tooDeep: "expected objects and arrays at most \(FireflyDecoder.deepestNesting) deep in each other"
    case .syntax(let syntax): "expected \(syntax)"
    case .missing(let field): "\(field.rawValue) is missing; expected \(field.expectation)"
    case .value(let field): "\(field.rawValue): expected \(field.expectation)"
    case .tag(let error): "\(error)"
    case .mixedFamilies: "flow-id: expected both addresses of one family"
    }
  }
}

extension FireflyError.Syntax: CustomStringConvertible {
  public var description: String {
    switch self {
    case .value: "a value"
    case .key: "a key in double quotes"
    case .colon: "a colon behind the key"
    case .commaOrEnd: "a comma or the closing bracket"
    case .endOfText: "nothing behind the closing brace"
    case .endOfString: "a closing quote"
    case .controlCharacter: "a control character to be escaped"
    case .escape: #"an escape: \" \\ \/ \b \f \n \r \t or \u and four hexadecimal digits"#
    case .surrogate: "both halves of a surrogate pair"
    case .number: "a number"
    }
  }
}

extension FireflyError.Field {
  var expectation: String {
    switch self {
    case .lifecycle, .flow, .context, .usage: "an object"
    case .state: "start, ongoing or end"
    case .currentTime, .startTime, .endTime: "a time such as 2026-01-15T09:12:33.5Z"
    case .source, .destination: "an IP address"
    case .transport: "tcp, udp or sctp"
    case .sourcePort, .destinationPort: "a port, 0 to 65535"
    case .experiment: "an experiment's number"
    case .activity: "an activity's number"
    case .application: "a text"
    case .sent, .received: "a number of bytes"
    }
  }
}
