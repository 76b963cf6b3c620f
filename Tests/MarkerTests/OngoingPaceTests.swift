import Flow
import Testing

@testable import Marker

struct OngoingPaceTests {
  private func time(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: (1_000_000 + milliseconds) * 1_000_000)
  }

  @Test func aLoneFlowOncePerPeriod() {
    var pace = OngoingPace(at: time(0))
    var due: [UInt64] = []
    for now in stride(from: 0 as UInt64, through: 10_000, by: 100) {
      if pace.due(of: 1, period: 2_000_000, at: time(now)) > 0 { due.append(now) }
    }
    #expect(due == [2000, 4000, 6000, 8000, 10_000])
  }

  /// Waking when it says wakes neither for nothing nor too late.
  @Test func manyFlowsEvenly() {
    var pace = OngoingPace(at: time(0))
    var now = time(0)
    var (total, most, wakes) = (0, 0, 0)
    while now < time(60_000) {
      guard let next = pace.next(of: 100_000, period: 60_000_000) else { break }
      now = next
      let due = pace.due(of: 100_000, period: 60_000_000, at: now)
      total += due
      most = max(most, due)
      wakes += 1
    }
    #expect((99_900...100_100).contains(total) && most < 100 && wakes <= 1200)
  }

  @Test func afterALongSleepEachOnce() {
    var pace = OngoingPace(at: time(0))
    #expect(pace.due(of: 10, period: 1_000_000, at: time(3_600_000)) == 10)
  }

  @Test func never() {
    var pace = OngoingPace(at: time(0))
    #expect(pace.due(of: 10, period: nil, at: time(100_000)) == 0 && pace.next(of: 10, period: nil) == nil)
    #expect(pace.due(of: 0, period: 1_000_000, at: time(200_000)) == 0)
    #expect(pace.due(of: 1, period: 1_000_000, at: time(200_500)) == 0, "a new flow waits its period")
  }
}
