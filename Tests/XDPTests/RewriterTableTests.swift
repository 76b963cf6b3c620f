import Flow
import Testing

@testable import XDP

@Suite struct RewriterTableTests {
  private func key(_ number: Int) -> FlowKey {
    FlowKey(
      local: Endpoint(
        Address(high: 0x2001_0db8 << 32, low: UInt64(number / 1000)), UInt16(number % 1000 + 1)),
      remote: Endpoint(Address(ipv4: 0xc000_0202), 443), transport: number % 3 == 0 ? .udp : .tcp)
  }

  private func stamp(_ number: Int) throws -> StampWord {
    let label = try #require(FlowLabel(number & 0xfffff))
    return try #require(StampWord(Mark(label: LabelStamp(label, .flow))))
  }

  /// Flows come and go at random; a dictionary keeps the books.
  @Test(arguments: [1, 2, 3] as [UInt64]) func likeADictionary(seed: UInt64) throws {
    var table = RewriterTable(seed: seed)
    var books: [Int: StampWord] = [:]
    var random = SplitMix(seed)
    for _ in 0..<30_000 {
      let number = random.next(below: 5000)
      if random.next(below: 5) < 3 {
        let stamp = try stamp(Int(random.next() & 0xfffff))
        let isSet = table.set(FlowWords(key(number)), stamp)
        #expect(isSet)
        books[number] = stamp
      } else {
        let usage = table.remove(FlowWords(key(number)))
        #expect((usage != nil) == (books.removeValue(forKey: number) != nil))
      }
      let count = table.count
      #expect(count == books.count)
    }
    for number in 0..<5000 {
      let found = table.find(FlowWords(key(number))).map { RewriterTable.stamp($0) }
      #expect(found == books[number])
    }
    var seen = 0
    RewriterTable.forEach(table.slots, capacity: table.capacity) { words, _ in
      seen += 1
      let isThere = words.flowKey.map { table.find(FlowWords($0)) != nil }
      #expect(isThere == true)
    }
    #expect(seen == books.count)
  }

  @Test func countsStayWithTheirFlow() throws {
    var table = RewriterTable(seed: 5)
    for number in 0..<2000 {
      let isSet = table.set(
        FlowWords(key(number)), try stamp(1), counted: Usage(packets: UInt64(number), bytes: 1))
      #expect(isSet)
    }
    for number in 0..<2000 where number % 2 == 0 {
      let slot = table.find(FlowWords(key(number)))
      RewriterTable.count(try #require(slot), packets: 2, bytes: 7)
      let isSet = table.set(FlowWords(key(number)), try stamp(2))
      #expect(isSet)
    }
    for number in (0..<2000).reversed() {
      let more: UInt64 = number % 2 == 0 ? 1 : 0
      let usage = table.remove(FlowWords(key(number)))
      #expect(usage == Usage(packets: UInt64(number) + 2 * more, bytes: 1 + 7 * more))
    }
    let count = table.count
    #expect(count == 0)
  }
}
