import CTable
import Flow
import Testing

@testable import XDP

@Suite struct PortFilterTests {
  private func bit(_ local: UInt16, _ remote: UInt16) -> UInt32 {
    let address = Address(high: 1, low: 1)
    return PortFilter.bit(
      of: FlowKey(local: Endpoint(address, local), remote: Endpoint(address, remote), transport: .tcp))
  }

  @Test func aBitLivesAsLongAsItsLastFlow() {
    var filter = PortFilter()
    let set = [filter.insert(5), filter.insert(5)]
    #expect(set == [true, false])
    let cleared = [filter.remove(5), filter.remove(5), filter.remove(5)]
    #expect(cleared == [false, true, false], "the third finds nothing")
    let again = filter.insert(5)
    #expect(again)
  }

  @Test func aCountThatIsFullStaysSet() {
    var filter = PortFilter()
    for _ in 0..<70_000 { _ = filter.insert(7) }
    var cleared = 0
    for _ in 0..<70_000 where filter.remove(7) { cleared += 1 }
    #expect(cleared == 0)
  }

  /// A server's flows have one local port: they must not cover the bits of another service's flows to the same
  /// remote ports. Random bits would be shared by as many as there are bits set.
  @Test(arguments: [(1094, 443), (1094, 1095), (443, 8443), (1, 2)] as [(UInt16, UInt16)])
  func servicesDoNotShadowEachOther(tagged: UInt16, other: UInt16) {
    let set = Set((1...60_000).map { bit(tagged, $0) })
    #expect(set.count > 58_000)
    let shared = (1...60_000).count { set.contains(bit(other, $0)) }
    #expect(shared < 60_000 * 7 / 100, "\(shared) of 60,000; random bits share 3,400")
    let reversed = (1...60_000).count { set.contains(bit($0, other)) }
    #expect(reversed < 60_000 * 7 / 100, "\(reversed)")
  }
}
