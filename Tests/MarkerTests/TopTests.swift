import Flow
import Linux
import Testing

@testable import Marker

@Suite struct TopTests {
  private func page(_ text: String) throws -> JSONValue { try JSONValue(text) }

  private let flow = #"""
    {"id":"x","protocol":"tcp","source":{"address":"2001:db8:aaaa:bbbb:cccc:dddd:eeee:1","port":34567},
    "destination":{"address":"192.0.2.1","port":1094},"name":"cms/Analysis Input","path":"tc","rate":125000,
    "bytes":2048,"sent":null,"age":65.5,"tcp":{"rtt":1500}}
    """#

  @Test func aTableFitsItsTerminal() throws {
    let table = TopTable(try page("{\"flows\":[\(flow)]}"))
    let wide = table.lines(width: nil)
    #expect(
      wide[1]
        == "cms/Analysis Input  tcp    [2001:db8:aaaa:bbbb:cccc:dddd:eeee:1]:34567  192.0.2.1:1094  tc    1.0 Mb/s  1.5 ms  2.0 KiB  1m5s"
    )
    for width in [1, 20, 60, 80, 100, 200] {
      let lines = table.lines(width: width)
      #expect(lines.allSatisfy { $0.count <= width })
      if width >= 80 { #expect(lines[1].contains(":34567") && lines[1].contains("1m5s"), "\(lines)") }
    }
  }

  @Test func keysAndTyping() throws {
    var state = TopState()
    func press(_ keys: String) -> [TopState.Outcome] { keys.utf8.map { state.press($0) } }
    #expect(press("bo/") == [.ask, .ask, .redraw])
    #expect(state.order == .bytes && state.isAscending)
    // What is typed is no key, and only ASCII is typed.
    #expect(
      press("q a/9\u{7f}é") == [.redraw, .redraw, .redraw, .redraw, .redraw, .redraw, .nothing, .nothing])
    #expect(press("\n") == [.ask] && state.filter == "q a/")
    #expect(state.path(limit: 9) == "/v1/top?sort=bytes&order=ascending&limit=9&filter=q%20a%2f")
    #expect(press("/x\u{1b}q") == [.redraw, .redraw, .redraw, .quit] && state.filter == "q a/")
  }

  @Test func whatTheDaemonRefusesIsShown() throws {
    var state = TopState()
    state.take(
      APIClient.Answer(
        status: 200, body: "{\"total\":1,\"matched\":1,\"time\":\"2026-01-01T10:11:12Z\",\"flows\":[\(flow)]}"
      ))
    state.take(
      APIClient.Answer(status: 400, body: #"{"error":{"field":"filter","reason":"no \u001b[2J such"}}"#))
    let lines = state.lines(width: 80, rows: 24)
    #expect(
      lines[0].contains("10:11:12Z  1 of 1 flows") && lines[1] == #"no \u{1b}[2J such"# && lines.count == 4)
  }
}

/// A class, because what cannot be copied cannot stand in an expectation.
private final class TestTable {
  var table = FlowTable(policy: .label(.kernel), seed: 3)
}

@Suite struct FlowSearchTests {
  private static func table(_ count: Int) -> TestTable {
    let made = TestTable()
    var batch = ChangeBatch()
    for number in 0..<count {
      let key = FlowKey(
        local: Endpoint(Address(ipv4: UInt32(0x0a00_0000 + number / 60_000)), UInt16(1 + number % 60_000)),
        remote: Endpoint(Address(ipv4: 0x0b00_0001), 1094), transport: .tcp)
      made.table.apply(
        FlowEvent(
          .start, AnnouncedFlow(key, .outbound), SciTag(packed: UInt16(number.isMultiple(of: 2) ? 145 : 206)),
          from: .pipe),
        at: .now(), localAddresses: [], into: &batch)
      made.table.note(Usage(packets: 1, bytes: UInt64(number * 7919 % count)), of: key, at: .now())
    }
    return made
  }

  private func search(_ made: TestTable, _ filter: String = "", ascending: Bool = false) throws
    -> FlowSearch.Page
  {
    var search = FlowSearch(try FlowFilter(filter), by: .bytes, ascending: ascending, limit: 10) { _ in }
    var turns = 1
    while !search.advance(in: made.table) { turns += 1 }
    let count = made.table.count
    #expect(turns == max(1, (count + FlowSearch.slice - 1) / FlowSearch.slice))
    return search.page(in: made.table) { _ in .tc }
  }

  @Test func theFirstOfMany() throws {
    let count = 50_021
    let table = Self.table(count)
    let page = try search(table)
    #expect(page.rows.map { Int($0.flow.usage?.bytes ?? 0) } == (1...10).map { count - $0 })
    #expect(page.total == count && page.matched == count)
    #expect(try search(table, ascending: true).rows.map { Int($0.flow.usage?.bytes ?? 0) } == Array(0..<10))
    let cms = try search(table, "cms")
    #expect(cms.matched == count / 2 && cms.rows.allSatisfy { $0.flow.tag.packed == 206 })
  }

  @Test(arguments: [
    ("", 4), ("cms", 2), ("cms/14 tcp", 2), ("2/17", 2), ("10.0.0.0/8", 4), ("11.0.0.2", 0), ("3", 1),
    ("1094", 4), ("udp", 0),
    ("ipv6", 0), ("ipv4 pipe", 4), ("api", 0),
  ])
  func filters(text: String, count: Int) throws {
    let table = Self.table(4)
    #expect(try search(table, text).matched == count)
  }

  @Test func aWordThatSaysNothingIsNamed() {
    let error = #expect(throws: JSONProblem.self) { try FlowFilter("cms nonsense") }
    #expect(error?.field == "filter" && error?.reason.hasPrefix("\"nonsense\" is no experiment") == true)
  }
}
