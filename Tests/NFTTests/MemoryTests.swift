import Flow
import Glibc
import Lab
import Testing

@testable import NFT

/// Records of flows in sets, among what others may do to them.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct MemoryTests {
  private let names = ApplicationNames(own: "marker")

  private func record(_ port: UInt16) -> FlowRecord {
    FlowRecord(
      key: FlowKey(
        local: Endpoint(Address(ipv4: 0xc000_0201), port), remote: Endpoint(Address(ipv4: 0xc000_0202), 2),
        transport: .tcp),
      tag: SciTag(packed: 145), orientation: .inbound, origin: .firefly, holders: Holders(.firefly),
      application: .marker, start: WallClockTime(microseconds: 1_768_468_345_000_123),
      label: FlowLabel(0x10044), hasSocket: true)
  }

  private func recall(_ memory: NFTMemory) throws(MemoryError) -> [FlowRecord] {
    var records: [FlowRecord] = []
    _ = try memory.recall { records.append($0) }
    return records.sorted { $0.key.local.port < $1.key.local.port }
  }

  private static let sets =
    "set flows6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service; }; set life { type mark; };"

  /// What cannot be written at once is written later; what was there stays meanwhile.
  @Test func aRefusedTransactionCostsNothingThatWasKept() throws {
    let host = try NetworkNamespace()
    try host.shell(
      "nft 'table inet marker_memory { \(Self.sets) set flows4 { size 2; "
        + "type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service; }; }'")
    try host.run {
      let memory = try NFTMemory(names)
      #expect(try recall(memory) == [])
      memory.keep(record(1))
      memory.keep(record(2))
      try memory.settle(at: MonotonicTime(nanoseconds: 7_000_000_000))
      memory.keep(record(3))
      #expect(throws: MemoryError.self) { try memory.settle(at: MonotonicTime(nanoseconds: 8_000_000_000)) }
      #expect(!memory.hasLostAll)
      #expect(try recall(NFTMemory(names)) == [record(1), record(2)])
      // Again in vain: all is written anew, into sets that this made.
      try memory.settle(at: MonotonicTime(nanoseconds: 9_000_000_000))
      #expect(memory.hasLostAll)
      for port in 1...3 { memory.keep(record(UInt16(port))) }
      try memory.settle(at: MonotonicTime(nanoseconds: 9_000_000_000))
      #expect(!memory.hasLostAll)
      #expect(try recall(NFTMemory(names)) == [record(1), record(2), record(3)])
    }
  }

  @Test func aTableOfThisNameWithoutTheSetsIsReplaced() throws {
    let host = try NetworkNamespace()
    try host.shell("nft 'table inet marker_memory { set flows6 { type ipv6_addr; }; }'")
    try host.run {
      let memory = try NFTMemory(names)
      #expect(try recall(memory) == [])
      memory.keep(record(1))
      try memory.settle(at: MonotonicTime(nanoseconds: 1_000_000_000))
      #expect(try recall(NFTMemory(names)) == [record(1)])
    }
  }

  @Test func whatCannotBeUnderstoodIsRemoved() throws {
    let host = try NetworkNamespace()
    try host.run {
      let memory = try NFTMemory(names)
      memory.keep(record(1))
      try memory.settle(at: MonotonicTime(nanoseconds: 1_000_000_000))
    }
    try host.shell(
      """
      nft 'add element inet marker_memory flows4 { 192.0.2.1 . 192.0.2.2 . tcp . 5 . 2 comment "v9 what is this" }'
      nft 'add element inet marker_memory flows4 { 192.0.2.1 . 192.0.2.2 . tcp . 6 . 2 }'
      """)
    try host.run {
      let memory = try NFTMemory(names)
      #expect(try recall(memory) == [record(1)])
      try memory.settle(at: MonotonicTime(nanoseconds: 2_000_000_000))
    }
    let listing = try host.shell("nft list set inet marker_memory flows4")
    #expect(
      listing.contains("tcp . 1 . 2") && !listing.contains("tcp . 5") && !listing.contains("tcp . 6"),
      "\(listing)")
  }
}
