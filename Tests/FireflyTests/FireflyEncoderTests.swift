import Firefly
import Flow
import Testing

/// The bytes of whole fireflies. The keys, their spelling and the forms of their values are those of
/// firefly-schema-v1.0.0.json; the header is RFC 5424's.
struct FireflyEncoderTests {
  @Test func startWithHeader() throws {
    let announcement = Announcement(.start, ipv6Key, .outbound, tag, start: started)
    let expected =
      "<134>1"  // local0.info, version 1
      + " 2026-01-15T09:12:33.500000+00:00"  // TIMESTAMP
      + " se1.example.org"  // HOSTNAME
      + " marker"  // APP-NAME
      + " -"  // PROCID: none
      + " firefly-json"  // MSGID
      + " - "  // STRUCTURED-DATA: none
      + #"{"version":1,"#
      + #""flow-lifecycle":{"state":"start""#
      + #","current-time":"2026-01-15T09:12:33.500000+00:00""#
      + #","start-time":"2026-01-15T09:12:25.412007+00:00"}"#
      + #","flow-id":{"afi":"ipv6","src-ip":"2001:db8:10::7","dst-ip":"2001:db8:20::3""#
      + #","protocol":"tcp","src-port":41922,"dst-port":33115}"#
      + #","context":{"experiment-id":2,"activity-id":10,"application":"marker 1.0"}}"#
    #expect(try encode(announcement, as: .syslog) == expected)
  }

  @Test func endOfAnInboundIPv4Flow() throws {
    // Announced remote → local: what left this host, the announced source received.
    let announcement = Announcement(
      .end, ipv4Key, .inbound, tag, start: started, end: ended, usage: Usage(packets: 9, bytes: 52_428_800))
    let expected =
      #"{"version":1,"flow-lifecycle":{"state":"end""#
      + #","current-time":"2026-01-15T09:12:33.500000+00:00""#
      + #","start-time":"2026-01-15T09:12:25.412007+00:00""#
      + #","end-time":"2026-01-15T09:12:33.499999+00:00"}"#
      + #","flow-id":{"afi":"ipv4","src-ip":"198.51.100.3","dst-ip":"192.0.2.44""#
      + #","protocol":"udp","src-port":1094,"dst-port":5001}"#
      // Of UDP nobody counts what arrives, and an end without both is worth nothing to collectors.
      + #","usage":{"received":52428800,"sent":0}"#
      + #","context":{"experiment-id":2,"activity-id":10,"application":"marker 1.0"}}"#
    #expect(try encode(announcement) == expected)
  }

  @Test func ongoingTellsWhatIsKnown() throws {
    let counted = Announcement(.ongoing, ipv6Key, .outbound, tag, start: started, usage: Usage(bytes: 7))
    #expect(try encode(counted).contains(#"},"usage":{"sent":7},"context":"#))
    #expect(try encode(counted).contains(#""state":"ongoing","#))
    let both = Transferred(sent: .max, received: 0)
    #expect(
      try encode(counted, transferred: both)
        .contains(#"},"usage":{"received":0,"sent":18446744073709551615},"context":"#))
    let uncounted = Announcement(.ongoing, ipv6Key, .outbound, tag, start: started)
    #expect(try !encode(uncounted).contains("usage"))
  }

  @Test func startTellsNoUsage() throws {
    let announcement = Announcement(.start, ipv6Key, .outbound, tag, start: started, usage: Usage(bytes: 7))
    #expect(try !encode(announcement).contains("usage"))
  }

  @Test func endWithoutATimeEndsNow() throws {
    let announcement = Announcement(.end, ipv6Key, .outbound, tag, start: started)
    #expect(try encode(announcement).contains(#""end-time":"2026-01-15T09:12:33.500000+00:00""#))
  }

  @Test func oneEncoderForMany() throws {
    var encoder = FireflyEncoder(host: "h")
    let long = Announcement(.end, ipv6Key, .outbound, tag, start: started, end: ended)
    let short = Announcement(.start, ipv4Key, .outbound, SciTag(packed: 0), start: started)
    try encoder.encode(long, application: "a", at: started)
    try encoder.encode(short, application: "b", at: now)
    let bytes = encoder.withBytes(as: .syslog) { text($0) }
    #expect(try bytes == encode(short, application: "b", host: "h", as: .syslog))
  }

  @Test func whatTheSchemaCannotSay() throws {
    let sctp = FlowKey(local: ipv6Key.local, remote: ipv6Key.remote, transport: .sctp)
    let portZero = FlowKey(local: ipv6Key.local, remote: endpoint("2001:db8::1", 0), transport: .tcp)
    let mixed = FlowKey(local: ipv6Key.local, remote: ipv4Key.remote, transport: .tcp)
    let cases: [(FlowKey, Inexpressible)] = [
      (sctp, .transport(.sctp)), (portZero, .portZero), (mixed, .mixedFamilies),
    ]
    for (key, reason) in cases {
      var encoder = FireflyEncoder(host: "h")
      try encoder.encode(Announcement(.start, ipv6Key, .outbound, tag, start: now), application: "a", at: now)
      #expect(throws: reason) {
        try encode(Announcement(.start, key, .outbound, tag, start: now))
      }
      do throws(Inexpressible) {
        try encoder.encode(Announcement(.start, key, .outbound, tag, start: now), application: "a", at: now)
      } catch {
        let left = encoder.withBytes(as: .syslog) { $0.count }
        #expect(left == 0, "the firefly before must not be sent again")
      }
    }
  }
}
