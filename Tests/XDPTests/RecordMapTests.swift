import CBPF
import CTable
import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import XDP

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct RecordMapTests {
  private func record(_ port: UInt16, _ application: ApplicationNames.ID = .marker) -> FlowRecord {
    FlowRecord(
      key: FlowKey(
        local: Endpoint(Address(ipv4: 0xc000_0201), port), remote: Endpoint(Address(ipv4: 0xc000_0202), 2),
        transport: .tcp),
      tag: SciTag(packed: 145), orientation: .inbound, origin: .firefly, holders: Holders(.firefly),
      application: application, start: WallClockTime(microseconds: 1_768_468_345_000_123),
      label: FlowLabel(0x10044), hasSocket: port % 2 == 0)
  }

  private func recall(_ map: RecordMap) throws -> [FlowRecord] {
    var records: [FlowRecord] = []
    _ = try map.recall { records.append($0) }
    return records.sorted { $0.key.local.port < $1.key.local.port }
  }

  /// A folder of a namespace of its own.
  private func withFolder(_ body: (BPFFolder) throws -> Void) throws {
    let namespace = try NetworkNamespace()
    try namespace.run {
      let folder = try BPFFolder()
      defer { _ = try? BPFFolder.remove(folder.path) }
      try body(folder)
    }
  }

  @Test func anotherProcessFindsWhatWasKept() throws {
    try withFolder { folder in
      let names = ApplicationNames(own: "marker")
      let (xrootd, dcache) = (names.id(of: "xrootd"), names.id(of: String(repeating: "d", count: 64)))
      let first = try RecordMap(in: folder, maxFlows: 5000, names)
      #expect(try recall(first) == [])
      let applications = [xrootd, dcache, .marker]
      let all = (1...3000).map { (port: Int) in record(UInt16(port), applications[port % 3]) }
      for record in all { first.keep(record) }
      try first.settle(at: MonotonicTime(nanoseconds: 42))
      for record in all[2000...] { first.drop(record.key) }
      first.drop(record(60_000).key)
      try first.settle(at: MonotonicTime(nanoseconds: 43))

      let second = try RecordMap(in: folder, maxFlows: 5000, names)
      #expect(try recall(second) == Array(all[..<2000]))
      #expect(second.lastLife == MonotonicTime(nanoseconds: 43))
      // Names get the numbers that they had, also in a process that knows none yet.
      let fresh = ApplicationNames(own: "marker")
      let third = try RecordMap(in: folder, maxFlows: 5000, fresh)
      #expect(try recall(third) == Array(all[..<2000]))
      #expect(fresh.name(of: xrootd) == "xrootd" && fresh.name(of: dcache).utf8.count == 64)
      // In one that knows others, all has to be kept again.
      let other = ApplicationNames(own: "marker")
      _ = other.id(of: "other")
      #expect(try RecordMap(in: folder, maxFlows: 5000, other).recall { _ in })
    }
  }

  @Test func aMapOfAnotherSizeKeepsWhatFits() throws {
    try withFolder { folder in
      let names = ApplicationNames(own: "marker")
      let first = try RecordMap(in: folder, maxFlows: 5000, names)
      for port in 1...100 { first.keep(record(UInt16(port))) }
      try first.settle(at: MonotonicTime(nanoseconds: 1))
      #expect(try recall(RecordMap(in: folder, maxFlows: 9000, names)).count == 100)
      #expect(try recall(RecordMap(in: folder, maxFlows: 9000, names)).count == 100)
      #expect(try recall(RecordMap(in: folder, maxFlows: 10, names)).count == 10)
    }
  }

  @Test func aFullMapSaysSoAndKeepsTheOthers() throws {
    try withFolder { folder in
      let map = try RecordMap(in: folder, maxFlows: 10, ApplicationNames(own: "marker"))
      for port in 1...20 { map.keep(record(UInt16(port))) }
      let error = #expect(throws: MemoryError.self) { try map.settle(at: MonotonicTime(nanoseconds: 1)) }
      #expect(error?.description.contains("will not be known after a restart") == true)
      #expect(try recall(map).count == 10)
    }
  }

  @Test func whatIsPinnedThereOfAnotherMakingIsReplaced() throws {
    try withFolder { folder in
      _ = try PinnedMap(
        "records", PinnedMap.Layout(type: BPF_MAP_TYPE_ARRAY, key: 4, value: 8, size: 1), in: folder)
      let map = try RecordMap(in: folder, maxFlows: 10, ApplicationNames(own: "marker"))
      map.keep(record(1))
      try map.settle(at: MonotonicTime(nanoseconds: 1))
      #expect(try recall(map).count == 1)
    }
  }

  /// Records that this program never writes are removed, and the others found.
  @Test func whatCannotBeUnderstoodIsRemoved() throws {
    try withFolder { folder in
      let names = ApplicationNames(own: "marker")
      let map = try RecordMap(in: folder, maxFlows: 2, names)
      map.keep(record(1))
      try map.settle(at: MonotonicTime(nanoseconds: 1))
      let pinned = Descriptor(owning: bpf_obj_get(folder.pin("records")))
      var key = marker_key(record(2).key)
      var value = marker_record(record(2))
      value.origin = 99
      #expect(bpf_map_update_elem(pinned.raw, &key, &value, UInt64(BPF_ANY)) == 0)
      #expect(try recall(RecordMap(in: folder, maxFlows: 2, names)) == [record(1)])
      // There is room again.
      map.keep(record(3))
      try map.settle(at: MonotonicTime(nanoseconds: 1))
      #expect(try recall(map) == [record(1), record(3)])
    }
  }

  @Test func makesRoomWhileInUse() throws {
    try withFolder { folder in
      let names = ApplicationNames(own: "marker")
      let map = try RecordMap(in: folder, maxFlows: 10, names)
      for port in 1...10 { map.keep(record(UInt16(port))) }
      try map.settle(at: MonotonicTime(nanoseconds: 1))
      try map.makeRoom(for: 30)
      for port in 11...30 { map.keep(record(UInt16(port))) }
      try map.settle(at: MonotonicTime(nanoseconds: 2))
      #expect(try recall(RecordMap(in: folder, maxFlows: 30, names)).count == 30)
    }
  }

  @Test func aFolderIsAbandonedAfterADayWithoutASignOfLife() throws {
    try withFolder { folder in
      let map = try RecordMap(in: folder, maxFlows: 10, ApplicationNames(own: "marker"))
      let now = MonotonicTime.now()
      try map.settle(at: now)
      #expect(!RecordMap.isAbandoned(folder.path, at: now.advanced(milliseconds: 86_000_000)))
      #expect(RecordMap.isAbandoned(folder.path, at: now.advanced(milliseconds: 86_500_000)))
      try map.forgetAll()
      #expect(!RecordMap.isAbandoned(folder.path, at: now.advanced(milliseconds: 86_500_000)))
      #expect(access(folder.path, F_OK) != 0)
    }
  }

  /// Something in the folder that is no pin is left, and is no obstacle.
  @Test func foreignThingsInTheFolder() throws {
    try withFolder { folder in
      try #require(mkdir(folder.pin("somebodys"), 0o700) == 0)
      let map = try RecordMap(in: folder, maxFlows: 10, ApplicationNames(own: "marker"))
      map.keep(record(1))
      try map.settle(at: MonotonicTime(nanoseconds: 1))
      #expect(try !folder.removeAll())
      #expect(try folder.names == ["somebodys"])
      rmdir(folder.pin("somebodys"))
    }
  }
}
