import Flow
import Testing

@testable import Firefly

/// The keys and units are those of flowd-go's modes; the reference collector reads `netlink.rtt` in milliseconds.
struct EnrichmentTests {
  private func netlink(
    _ mode: Enrichment, _ info: TCPInfo, application: String = "marker 1.0", host: String = "h"
  ) throws -> String {
    var announcement = Announcement(.end, ipv6Key, .outbound, tag, start: started, end: ended)
    announcement.report = TCPReport(info)
    let text = try encode(announcement, application: application, enrichment: mode, host: host)
    guard let start = text.firstRange(of: #","netlink":"#) else { return "" }
    return String(text[start.upperBound...].dropLast())
  }

  @Test func lean() throws {
    #expect(
      try netlink(.lean, shortInfo)
        == #"{"tcpInfo":{"Retransmits":0,"sndMss":0,"pMtu":0,"rtt":12288,"rttVar":0,"sndSsThresh":65792,"#
        + #""sndCwnd":0,"advMss":0,"minRtt":0,"deliveryRate":0,"bytesSent":0},"cong":{"algorithm":"cubic"}}"#)
  }

  @Test func compatible() throws {
    #expect(
      try netlink(.compatible, shortInfo)
        == #"{"state":"established","rtt":12.288,"snd_ssthresh":65792,"opts":["ts","sack"]}"#)
  }

  @Test func full() throws {
    #expect(
      try netlink(.full, shortInfo)
        == #"{"tcpInfo":{"state":1,"options":3,"rtt":12288,"sndSsThresh":65792},"cong":{"algorithm":"cubic"}}"#
    )
  }

  @Test func eachModeHasAllKeysOnce() {
    for (keys, count) in [
      (Enrichment.leanKeys, 11), (Enrichment.compatibleKeys, 47), (Enrichment.fullKeys, 56),
    ] {
      #expect(Set(keys.map { "\($0.name)" }).count == keys.count && keys.count == count, "\(keys.count)")
    }
  }

  /// Where the whole object does not fit the short one stands, then none; the firefly is never longer, never broken.
  @Test(arguments: [Enrichment.lean, .compatible, .full]) func theLimit(mode: Enrichment) throws {
    var forms: [Bool] = []
    for length in 0..<900 {
      let application = String(repeating: "a", count: length)
      var announcement = Announcement(.ongoing, ipv6Key, .outbound, tag, start: started)
      announcement.report = TCPReport(longInfo)
      let text = try encode(announcement, application: application, enrichment: mode, as: .syslog)
      #expect(text.utf8.count <= FireflyEncoder.maximumSize)
      #expect(text.contains(#""application":"\#(application)""#) || length > 700, "the context comes first")
      let start = try #require(text.firstIndex(of: "{"))
      let json = try JSON(String(text[start...]))
      forms.append(json["netlink"] != nil)
    }
    // With growing context it is there, and then not, and never comes back.
    #expect(forms.first == true && forms.last == false)
    #expect(zip(forms, forms.dropFirst()).filter { $0 != $1 }.count == 1)
  }

  @Test func aLongObjectGivesWayToTheShort() throws {
    let full = try netlink(.full, longInfo)
    #expect(try full == netlink(.lean, longInfo))
    #expect(try netlink(.compatible, longInfo).contains(#""total_retrans""#))
    #expect(try !netlink(.compatible, longInfo).contains(#""sndbuf_limited""#))
  }

  private func objects(
    _ skOps: SkOps, from origin: Origin = .socketWatch, _ state: FlowEvent.State = .end,
    info: TCPInfo = shortInfo,
    application: String = "a"
  ) throws -> (text: String, netlink: JSON?, skOps: JSON?) {
    var announcement = Announcement(state, ipv6Key, .outbound, tag, from: origin, start: started)
    announcement.report = TCPReport(info)
    var encoder = FireflyEncoder(host: "h")
    try encoder.encode(
      announcement, application: application, enrichment: .lean, skOps: skOps, at: now)
    let firefly = encoder.withBytes(as: .bare) { text($0) }
    let json = try JSON(firefly)
    return (firefly, json["netlink"], json["skOps"])
  }

  /// For flows that the socket watch found, and no others; never at a start.
  @Test func skOps() throws {
    let plain = try objects(.none)
    #expect(plain.netlink != nil && plain.skOps == nil)
    let both = try objects(.besides)
    #expect(
      both.netlink?["tcpInfo"]?["rtt"]?.integer == 12288 && both.skOps?["tcpInfo"]?["rtt"]?.integer == 12288
    )
    #expect(both.skOps?["cong"]?["algorithm"]?.string == "cubic")
    let alone = try objects(.instead)
    #expect(alone.netlink == nil && alone.skOps?["tcpInfo"]?["rtt"]?.integer == 12288)
    for origin in Origin.allCases where origin != .socketWatch {
      let other = try objects(.instead, from: origin)
      #expect(other.netlink != nil && other.skOps == nil, "\(origin)")
    }
    #expect(try objects(.besides, .start).skOps == nil)
  }

  /// Of two objects the second gives way first, each as a whole.
  @Test func twoObjectsAndTheLimit() throws {
    var forms: [String] = []
    for length in 0..<900 {
      let (text, netlink, skOps) = try objects(
        .besides, info: longInfo, application: String(repeating: "a", count: length))
      #expect(text.utf8.count <= FireflyEncoder.maximumSize)
      let form = (netlink == nil ? "" : "n") + (skOps == nil ? "" : "s")
      if forms.last != form { forms.append(form) }
    }
    #expect(forms == ["ns", "n", ""])
  }

  @Test func anOddNameOfACongestionControl() throws {
    let name = Array(#"a"b"#.utf8)
    let odd = [UInt8](repeating: 0, count: 232).withUnsafeBytes { info in
      name.withUnsafeBytes { TCPInfo(info, congestion: $0) }
    }
    #expect(try !netlink(.lean, odd).contains("cong"))
  }
}
