import NIOCore
import NIOHTTP1

/// A request that is whole.
struct APIRequest: Sendable {
  let method: HTTPMethod
  /// Without the query, percent-decoded.
  let path: String
  /// Of the query, each name once, percent-decoded.
  let query: [String: String]
  let body: ByteBuffer
  /// What the client would like to have, of `Accept`; empty where it does not say.
  let accept: String

  init(_ method: HTTPMethod, _ uri: String, _ body: ByteBuffer, accept: String = "") {
    self.method = method
    self.accept = accept
    self.body = body
    let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = PercentEncoding.decode(parts[0])
    var query: [String: String] = [:]
    for pair in parts.count > 1 ? parts[1].split(separator: "&") : [] {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      query[PercentEncoding.decode(sides[0])] = sides.count > 1 ? PercentEncoding.decode(sides[1]) : ""
    }
    self.query = query
  }
}

/// RFC 3986 §2.1.
enum PercentEncoding {
  /// What is no encoding, or would not be UTF-8, stays as it is: it then names nothing that there is.
  static func decode(_ text: Substring) -> String {
    guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(2)
      if byte == UInt8(ascii: "%"), digits.count == 2, let high = nibble(digits.first),
        let low = nibble(digits.last)
      {
        bytes.append(high << 4 | low)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(validating: bytes, as: UTF8.self) ?? String(text)
  }

  private static func nibble(_ digit: UInt8?) -> UInt8? {
    digit.flatMap { Character(Unicode.Scalar($0)).hexDigitValue }.map { UInt8($0) }
  }
}

/// What is answered to a request.
struct APIResponse: Sendable {
  var status: HTTPResponseStatus
  var body: String
  var contentType = "application/json"
  var headers: [(String, String)] = []

  init(
    _ status: HTTPResponseStatus, _ body: String, type contentType: String = "application/json",
    headers: [(String, String)] = []
  ) {
    self.contentType = contentType
    self.status = status
    self.body = body
    self.headers = headers
  }

  /// - Parameters:
  ///   - field: the field that is wrong, empty where none is.
  ///   - reason: what is wrong, and what would be right.
  static func error(
    _ status: HTTPResponseStatus, _ reason: String, field: String = "", headers: [(String, String)] = []
  ) -> APIResponse {
    APIResponse(status, JSONText.object([("error", JSONText.problem(field, reason))]), headers: headers)
  }

  static func error(_ problem: JSONProblem) -> APIResponse {
    error(.badRequest, problem.reason, field: problem.field)
  }

  /// The daemon cannot take more for the moment.
  static let busy = error(
    .serviceUnavailable, "too much is waiting for the flow table; try again", headers: [("Retry-After", "1")])

  static let full = error(
    .serviceUnavailable, "the flow table is full: flows.max are there; others have to end first",
    headers: [("Retry-After", "10")])
}

extension JSONText {
  static func problem(_ field: String, _ reason: String) -> String {
    object((field.isEmpty ? [] : [("field", quoted(field))]) + [("reason", quoted(reason))])
  }
}
