import Testing

@testable import Flow

private func flow(_ number: Int) -> Flow {
  let local = Endpoint(Address(high: 1, low: UInt64(number % 7)), UInt16(truncatingIfNeeded: number))
  let remote = Endpoint(Address(high: 2, low: UInt64(number / 65536)), 443)
  return Flow(
    key: FlowKey(local: local, remote: remote, transport: .tcp), tag: SciTag(packed: 129),
    orientation: .outbound,
    application: .marker, origin: .pipe, mark: nil,
    start: WallClockTime(microseconds: Int64(number)),
    lastSeen: MonotonicTime(nanoseconds: 0))
}

@Suite struct FlowStoreTests {
  /// Random insertions and removals against a dictionary, over several chunks and index sizes.
  @Test(arguments: [1, 2, 3] as [UInt64])
  func behavesAsADictionary(seed: UInt64) {
    var store = FlowStore(seed: seed)
    var model: [FlowKey: Int64] = [:]
    var random = seed
    for _ in 0..<60_000 {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let flow = flow(Int(random >> 33) % 20_000)
      if let position = store.position(of: flow.key) {
        #expect(model.removeValue(forKey: flow.key) == store[position].start.microseconds)
        store.remove(at: position)
      } else {
        #expect(model[flow.key] == nil)
        model[flow.key] = flow.start.microseconds
        store.insert(flow)
      }
    }
    #expect(store.count == model.count)
    for (key, start) in model {
      let position = store.position(of: key)
      #expect(position.map { store[$0].start.microseconds } == start)
    }
  }

  @Test func emptiesAgain() {
    var store = FlowStore(seed: 1)
    for number in 0..<10_000 { store.insert(flow(number)) }
    for number in 0..<10_000 {
      guard let position = store.position(of: flow(number).key) else {
        Issue.record("flow \(number) is lost")
        return
      }
      store.remove(at: position)
    }
    #expect(store.count == 0)
    #expect(store.position(of: flow(1).key) == nil)
  }
}
