import Flow
import Glibc
import Linux

@testable import Firefly

/// Fireflies of the field, as Tests/Fixtures has them.
enum Heard {
  static let folder =
    "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/") + "/Fixtures/fireflies/"

  static func file(_ name: String) throws -> String {
    let file = try Descriptor("open", name) { open(folder + name, O_RDONLY | O_CLOEXEC) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = try system("read", name) { read(file.raw, &bytes, bytes.count) }
    return String(decoding: bytes[..<Int(count)], as: UTF8.self)
  }

  static func relayed() throws -> [String] {
    try file("relayed-flowd-2022.log").split(separator: "\n").map(String.init)
  }

  static func decode(
    _ text: String, applications: ApplicationNames = ApplicationNames(own: "own")
  ) throws(FireflyError) -> ReceivedFirefly {
    try decode(Array(text.utf8), applications: applications)
  }

  static func decode(
    _ bytes: [UInt8], applications: ApplicationNames = ApplicationNames(own: "own")
  ) throws(FireflyError) -> ReceivedFirefly {
    var decoder = FireflyDecoder(applications: applications)
    return try decoder.decode(bytes.span)
  }

  static func error(_ text: String) -> FireflyError? {
    do throws(FireflyError) {
      _ = try decode(text)
      return nil
    } catch {
      return error
    }
  }

  /// A plain firefly, of which one part is replaced.
  static func firefly(
    state: String = #""start""#, start: String = #""2026-01-15T09:12:25Z""#,
    source: String = #""2001:db8::1""#, destination: String = #""2001:db8::2""#,
    transport: String = #""tcp""#,
    sourcePort: String = "1094", destinationPort: String = "40000", experiment: String = "3",
    activity: String = "14", application: String = #""xrdcp""#, usage: String = #"{"sent":1,"received":2}"#,
    more: String = ""
  ) -> String {
    #"{"version":1,"flow-lifecycle":{"state":\#(state),"start-time":\#(start)},"#
      + #""flow-id":{"afi":"ipv6","src-ip":\#(source),"dst-ip":\#(destination),"protocol":\#(transport),"#
      + #""src-port":\#(sourcePort),"dst-port":\#(destinationPort)},"usage":\#(usage),"#
      + #""context":{"experiment-id":\#(experiment),"activity-id":\#(activity),"application":\#(application)}\#(more)}"#
  }
}
