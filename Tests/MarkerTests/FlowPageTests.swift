import Flow
import Linux
import Testing

@testable import Marker

@Suite struct FlowPageTests {
  private func table(of count: Int, _ tag: (Int) -> Int) throws -> FlowTable {
    var table = FlowTable(policy: .label(.kernel), seed: 7)
    var batch = ChangeBatch()
    for number in 0..<count {
      let flow = AnnouncedFlow(
        source: Endpoint(Address(ipv4: 0xc000_0201), UInt16(1 + number % 60_000)),
        destination: Endpoint(Address(ipv4: 0xc000_0202), UInt16(1 + number / 60_000)), transport: .tcp)
      table.apply(
        FlowEvent(.start, flow, SciTag(packed: UInt16(tag(number))), from: .api), at: .now(),
        localAddresses: [Address(ipv4: 0xc000_0201)], into: &batch)
    }
    return table
  }

  @Test func pagesFollowEachOther() throws {
    let table = try table(of: 25) { $0 % 2 == 0 ? 129 : 206 }
    var query = FlowQuery(experiment: 2, limit: 5)
    var sizes: [Int] = []
    while true {
      let page = table.page(query)
      sizes.append(page.flows.count)
      #expect(page.total == 25 && page.flows.allSatisfy { $0.tag.experiment == 2 })
      guard let next = page.next else { break }
      query.from = next
    }
    #expect(sizes == [5, 5, 3])
  }

  @Test func onePageDoesNotLookAtAllOfALargeTable() throws {
    let count = FlowTable.pageScan + 10
    let table = try table(of: count) { $0 == count - 1 ? 206 : 129 }
    let first = table.page(FlowQuery(experiment: 3))
    #expect(first.flows.isEmpty && first.next == FlowTable.pageScan)
    let second = table.page(FlowQuery(experiment: 3, from: try #require(first.next)))
    #expect(second.flows.count == 1 && second.next == nil)
  }

  @Test(arguments: [
    ("a%2Cb%3a", "a,b:"), ("Belle%20II", "Belle II"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%ff", "%ff"),
    ("%c3%a9", "é"), ("", ""),
  ])
  func percentEncoding(text: String, decoded: String) {
    #expect(PercentEncoding.decode(text[...]) == decoded)
  }
}
