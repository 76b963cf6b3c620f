import Firefly
import Flow
import Testing

struct SchemaTests {
  private static func schema() throws -> Schema { try Schema(named: "firefly-schema-v1.0.0.json") }

  @Test(arguments: [FlowEvent.State.start, .ongoing, .end], [ipv6Key, ipv4Key])
  func fireflies(state: FlowEvent.State, key: FlowKey) throws {
    for orientation in [Orientation.outbound, .inbound] {
      for usage in [nil, Usage(packets: 1, bytes: 1500)] {
        let announcement = Announcement(
          state, key, orientation, tag, start: started, end: state == .end ? ended : nil, usage: usage)
        let json = try JSON(encode(announcement, application: "a \"quoted\"\\\u{1} name"))
        #expect(try Self.schema().violations(in: json) == [])
      }
    }
  }

  @Test(arguments: Enrichment.allCases, [FlowEvent.State.start, .ongoing, .end])
  func enriched(mode: Enrichment, state: FlowEvent.State) throws {
    for info in [longInfo, shortInfo] {
      var announcement = Announcement(state, ipv6Key, .outbound, tag, start: started, end: ended)
      announcement.report = TCPReport(info)
      announcement.moved = SocketBytes(sent: 1, received: 2)
      let text = try encode(announcement, enrichment: mode)
      #expect(try Self.schema().violations(in: JSON(text)) == [])
      #expect(text.contains(#""netlink":{"#) == (mode != .none && state != .start))
    }
  }

  /// The check itself: it finds what it should.
  @Test(arguments: [
    (#""state":"start""#, #""state":"end""#),
    (#""afi":"ipv6""#, #""afi":"ipv4""#),
    (#""protocol":"tcp""#, #""protocol":"sctp""#),
    (#""dst-port":33115"#, #""dst-port":0"#),
    (#""dst-port":33115"#, #""dst-port":65536"#),
    (#""version":1"#, #""version":2"#),
    (#""activity-id":10,"#, ""),
    (#""application""#, #""applikation""#),
    ("2026-01-15T09:12:25", "2026-01-15 09:12:25"),
  ])
  func violationsAreFound(good: String, bad: String) throws {
    let json = try encode(Announcement(.start, ipv6Key, .outbound, tag, start: started))
    #expect(json.contains(good))
    #expect(try Self.schema().violations(in: JSON(json.replacing(good, with: bad))) != [])
  }
}
