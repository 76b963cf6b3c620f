import Flow
import Testing

@testable import Firefly

struct HeardFirefliesTests {
  private func json(_ number: Int) -> [UInt8] { Array("{\"number\":\(number)}".utf8) }

  private func isEcho(_ number: Int, _ heard: HeardFireflies, notes: Bool) -> Bool {
    heard.isEcho(json(number).span, andNotes: notes)
  }

  @Test func whatLeftIsKnownAgain() {
    let heard = HeardFireflies()
    #expect(!isEcho(0, heard, notes: false))
    // As many as may be under way at a time, none of which may push out another.
    for number in 0..<2000 { heard.note(json(number).span) }
    for number in 0..<2000 { #expect(isEcho(number, heard, notes: false), "\(number)") }
    for number in 2000..<4000 { #expect(!isEcho(number, heard, notes: false)) }
  }

  @Test func whatIsRelayedIsKnownAgain() {
    let heard = HeardFireflies()
    #expect(!isEcho(1, heard, notes: true))
    #expect(isEcho(1, heard, notes: true))
    #expect(!isEcho(2, heard, notes: false))
    #expect(!isEcho(2, heard, notes: false), "it was not noted")
  }

  @Test func theOldestAreForgotten() {
    let heard = HeardFireflies()
    for number in 0..<300_000 { heard.note(json(number).span) }
    let known = (0..<100_000).filter { isEcho($0, heard, notes: false) }.count
    #expect(known < 100)
    #expect(isEcho(299_999, heard, notes: false))
  }

  @Test func sendersOnLoopbackAreNobody() throws {
    let heard = HeardFireflies()
    for text in ["::1", "127.0.0.1", "2001:db8::1"] { heard.note(sender: try #require(Address(text))) }
    func isSender(_ text: String) throws -> Bool { heard.isSender(try #require(Address(text))) }
    #expect(try isSender("2001:db8::1"))
    #expect(try !isSender("::1"))
    #expect(try !isSender("127.0.0.1"))
  }
}
