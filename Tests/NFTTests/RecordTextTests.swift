import Flow
import Testing

@testable import NFT

@Suite struct RecordTextTests {
  private let names = ApplicationNames(own: "marker")
  private let key = FlowKey(
    local: Endpoint(Address(ipv4: 0xc000_0201), 1), remote: Endpoint(Address(ipv4: 0xc000_0202), 2),
    transport: .tcp)

  private func record(_ application: ApplicationNames.ID, _ label: Int?, _ hasSocket: Bool) -> FlowRecord {
    FlowRecord(
      key: key, tag: SciTag(packed: 145), orientation: .inbound, origin: .api,
      holders: [Holders(.pipe), Holders(.api)], application: application,
      start: WallClockTime(microseconds: 1_768_468_345_000_123), label: label.flatMap { FlowLabel($0) },
      hasSocket: hasSocket)
  }

  @Test func whatIsWrittenIsReadAgain() {
    let full = record(names.id(of: "xrdcp 5.8"), 0x10044, true)
    let text = RecordText.text(full, application: "xrdcp 5.8")
    #expect(text == "v1 145 1768468345000123 1-1-3-1 10044 xrdcp 5.8")
    #expect(RecordText.record(text, of: key, names.id) == full)
    let least = record(.marker, nil, false)
    #expect(RecordText.text(least, application: nil) == "v1 145 1768468345000123 1-1-3-0 - -")
    #expect(RecordText.record(RecordText.text(least, application: nil), of: key, names.id) == least)
  }

  @Test func noNameBreaksTheListing() {
    let text = RecordText.text(
      record(.marker, nil, false), application: "a\"b\\c\nd" + String(repeating: "é", count: 60))
    #expect(text.utf8.count <= Batch.longestComment)
    #expect(text.contains("a?b?c?dé") && !text.contains("\""))
  }

  @Test(arguments: [
    "", "v1", "v2 145 1 1-1-3-1 10044 x", "v1 145 1 9-1-3-1 10044 x", "v1 x 1 1-1-3-1 10044 x",
    "v1 145 1 1-1-3 10044 x", "v1 145 1 1-99-3-1 10044 x", "v1 70000 1 1-1-3-1 10044 x",
  ])
  func whatIsNotOursIsNoRecord(text: String) {
    #expect(RecordText.record(text, of: key, names.id) == nil)
  }
}
