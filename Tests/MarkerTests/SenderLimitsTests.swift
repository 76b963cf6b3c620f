import Flow
import Testing

@testable import Marker

@Suite struct SenderLimitsTests {
  private func time(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
  }

  private func allowed(
    _ limits: inout SenderLimits, _ sender: Address, _ count: Int, at now: MonotonicTime
  ) -> Int {
    var allowed = 0
    for _ in 0..<count where limits.judge(sender, at: now) == .allowed { allowed += 1 }
    return allowed
  }

  @Test func onlyThoseOfTheNetworks() throws {
    var limits = SenderLimits(from: [try Network(text: "192.0.2.0/24")], rate: 10, at: time(0))
    #expect(limits.judge(Address(ipv4: 0xc000_0201), at: time(0)) == .allowed)
    #expect(limits.judge(Address(ipv4: 0xc000_0301), at: time(0)) == .notAllowed)
    #expect(limits.judge(Address(high: 0, low: 1), at: time(0)) == .notAllowed)
    var nobody = SenderLimits(from: [], rate: 10, at: time(0))
    #expect(nobody.judge(Address(high: 0, low: 1), at: time(0)) == .notAllowed)
  }

  @Test func eachHasARate() {
    var limits = SenderLimits(from: Network.loopback, rate: 100, at: time(0))
    let (one, two) = (Address(ipv4: 0x7f00_0001), Address(ipv4: 0x7f00_0002))
    #expect(allowed(&limits, one, 500, at: time(0)) == 100, "a second's worth at once")
    #expect(limits.judge(one, at: time(0)) == .limited)
    #expect(allowed(&limits, two, 500, at: time(0)) == 100, "the other is not held up")
    #expect(allowed(&limits, one, 500, at: time(500)) == 50)
    #expect(allowed(&limits, one, 500, at: time(60_000)) == 100, "never more than a second's worth")
    #expect(allowed(&limits, one, 500, at: time(1)) == 0, "time that seems to go back")
  }

  @Test func manySendersShareWhatIsLeft() {
    var limits = SenderLimits(from: Network.loopback, rate: 10, at: time(0))
    var taken = 0
    for number in 0..<UInt32(RateLimits.limit + 1000) {
      taken += allowed(&limits, Address(ipv4: 0x7f00_0000 + number), 2, at: time(0))
    }
    #expect(taken == 2 * RateLimits.limit + 10, "senders without a bucket of their own share one")
    // Those that fell silent make room.
    #expect(allowed(&limits, Address(ipv4: 0x7fff_0000), 20, at: time(5000)) == 10)
    #expect(allowed(&limits, Address(ipv4: 0x7fff_0001), 20, at: time(5000)) == 10)
  }
}
