import Flow
import Testing

@testable import Marker

@Suite struct GoneStrangersTests {
  private func gone(_ port: UInt16, at seconds: Int64 = 1) -> SocketDesk.Gone {
    let key = FlowKey(
      local: Endpoint(Address(high: 1, low: 1), port), remote: Endpoint(Address(high: 1, low: 2), 1094),
      transport: .tcp)
    let time = MonotonicTime(nanoseconds: UInt64(seconds) * 1_000_000_000)
    return SocketDesk.Gone(
      key: key, bytes: nil, report: nil, time: Moment(wall: WallClockTime(microseconds: 0), monotonic: time))
  }

  /// As many as a burst of short connections leaves, while its source's lines are on their way.
  @Test func aBurstIsRemembered() {
    var strangers = GoneStrangers()
    for port in 1...400 { strangers.insert(gone(UInt16(port))) }
    let now = gone(1, at: 2).time.monotonic
    let known = (1...400).filter { strangers.take(gone(UInt16($0)).key, at: now) != nil }
    #expect(known.count == 400)
    #expect(strangers.take(gone(1).key, at: now) == nil, "each once")
  }

  @Test func theOldestOfManyAreForgottenAndOldOnesDoNotCount() {
    var strangers = GoneStrangers()
    for port in 1...60_000 { strangers.insert(gone(UInt16(port), at: Int64(port) / 10_000)) }
    let now = gone(1, at: 6).time.monotonic
    #expect(strangers.take(gone(60_000).key, at: now) != nil)
    let early = (1...1000).filter { strangers.take(gone(UInt16($0)).key, at: now) != nil }
    #expect(early.isEmpty, "\(early.count)")
    strangers.insert(gone(7, at: 6))
    #expect(strangers.take(gone(7).key, at: gone(1, at: 17).time.monotonic) == nil)
  }
}
