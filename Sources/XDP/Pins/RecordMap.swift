internal import CBPF
internal import CTable
public import Flow
internal import Glibc
public import Linux

/// Keeps the records of flows in pinned maps of the kernel: they outlive the process, as the marks do, and go with the
/// host's next boot.
public final class RecordMap: FlowMemory {
  private let records: PinnedMap
  private let names: PinnedMap
  private let life: PinnedMap
  private let applications: ApplicationNames
  /// Names below this number are in the map; the first is this program's own.
  private var keptNames: UInt16 = 1
  private var kept: ContiguousArray<FlowRecord> = []
  private var dropped: ContiguousArray<FlowKey> = []
  private let keys: UnsafeMutablePointer<marker_key>
  private let values: UnsafeMutablePointer<marker_record>
  /// Batches came with 5.6; what this kernel refused is not tried again.
  private var hasBatches = true

  /// Flows in one system call.
  private static let batchSize = 1024

  /// Opens the maps that an earlier process has left, or makes them.
  ///
  /// - Parameter maxFlows: the most records.
  public init(
    in folder: BPFFolder, maxFlows: Int, _ applications: ApplicationNames
  ) throws(MemoryError) {
    LibbpfLog.install()
    do throws(SystemError) {
      let records = try PinnedMap(
        "records",
        PinnedMap.Layout(
          type: BPF_MAP_TYPE_HASH, key: MemoryLayout<marker_key>.size,
          value: MemoryLayout<marker_record>.size,
          size: UInt32(clamping: maxFlows), flags: UInt32(BPF_F_NO_PREALLOC)), in: folder)
      let names = try PinnedMap(
        "names",
        PinnedMap.Layout(
          type: BPF_MAP_TYPE_ARRAY, key: 4, value: Int(MARKER_NAME_BYTES), size: UInt32(MARKER_MAX_NAMES)),
        in: folder)
      let life = try PinnedMap(
        "life", PinnedMap.Layout(type: BPF_MAP_TYPE_ARRAY, key: 4, value: 8, size: 1), in: folder)
      self.records = records
      self.names = names
      self.life = life
    } catch {
      throw MemoryError("cannot keep flows beyond the daemon's end: \(error)")
    }
    self.applications = applications
    keys = .allocate(capacity: Self.batchSize)
    values = .allocate(capacity: Self.batchSize)
  }

  deinit {
    keys.deallocate()
    values.deallocate()
  }

  /// Nobody but root reaches a pinned map.
  public var hasLostAll: Bool { false }

  /// When the process that kept the records last gave a sign of life.
  public var lastLife: MonotonicTime {
    var (key, value): (UInt32, UInt64) = (0, 0)
    return MonotonicTime(nanoseconds: bpf_map_lookup_elem(life.raw, &key, &value) == 0 ? value : 0)
  }

  public func recall(_ body: (FlowRecord) -> Void) throws(MemoryError) -> Bool {
    let ids = recallNames()
    var previous: marker_key?
    while true {
      var next = marker_key()
      var status: Int32
      if var from = previous {
        status = bpf_map_get_next_key(records.raw, &from, &next)
      } else {
        status = bpf_map_get_next_key(records.raw, nil, &next)
      }
      if status == -ENOENT { return ids.enumerated().contains { $0.offset != Int($0.element.number) } }
      guard status == 0 else { throw Self.error("bpf_map_get_next_key", -status) }
      var value = marker_record()
      status = bpf_map_lookup_elem(records.raw, &next, &value)
      if status == 0, let record = FlowRecord(next, value, ids) { body(record) }
      previous = next
    }
  }

  /// The names that were kept, which get numbers of this process in the same order.
  private func recallNames() -> [ApplicationNames.ID] {
    var ids: [ApplicationNames.ID] = [.marker]
    var bytes = [UInt8](repeating: 0, count: Int(MARKER_NAME_BYTES))
    for number in 1..<UInt32(MARKER_MAX_NAMES) {
      var key = number
      guard bpf_map_lookup_elem(names.raw, &key, &bytes) == 0, bytes[0] != 0 else { break }
      ids.append(applications.id(of: String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)))
    }
    return ids
  }

  public func keep(_ record: FlowRecord) { kept.append(record) }

  public func drop(_ key: FlowKey) { dropped.append(key) }

  public func settle(at now: MonotonicTime) throws(MemoryError) {
    var failure: MemoryError?
    // A flow that ended and began again is in both: what is kept comes last.
    for start in stride(from: 0, to: dropped.count, by: Self.batchSize) {
      forget(dropped[start..<min(start + Self.batchSize, dropped.count)])
    }
    for start in stride(from: 0, to: kept.count, by: Self.batchSize) {
      do throws(MemoryError) {
        try write(kept[start..<min(start + Self.batchSize, kept.count)])
      } catch {
        failure = failure ?? error
      }
    }
    dropped.removeAll(keepingCapacity: dropped.count <= Self.batchSize)
    kept.removeAll(keepingCapacity: kept.count <= Self.batchSize)
    var (key, value) = (UInt32(0), now.nanoseconds)
    let status = bpf_map_update_elem(life.raw, &key, &value, UInt64(BPF_ANY))
    if status != 0 { failure = failure ?? Self.error("bpf_map_update_elem", -status) }
    if let failure { throw failure }
  }

  private func write(_ flows: ArraySlice<FlowRecord>) throws(MemoryError) {
    for (place, record) in flows.enumerated() {
      try keepName(record.application)
      keys[place] = marker_key(record.key)
      values[place] = marker_record(record)
    }
    var done = 0
    var failure: Int32 = 0
    while hasBatches, done < flows.count {
      var taken = UInt32(flows.count - done)
      let status = bpf_map_update_batch(records.raw, keys + done, values + done, &taken, nil)
      if status == 0 {
        done = flows.count
        break
      }
      if taken == 0 || Int(taken) == flows.count - done, status == -EINVAL || status == -notSupported {
        hasBatches = false
        break
      }
      // The kernel stops at the entry it cannot take and says how many it took before.
      failure = status
      done += Int(taken) + 1
    }
    while done < flows.count {
      let status = bpf_map_update_elem(records.raw, keys + done, values + done, UInt64(BPF_ANY))
      if status != 0 { failure = status }
      done += 1
    }
    if failure != 0 { throw Self.error("bpf_map_update_elem", -failure) }
  }

  private func forget(_ flows: ArraySlice<FlowKey>) {
    for key in flows {
      // Not there is as good: it may never have been kept.
      keys[0] = marker_key(key)
      _ = bpf_map_delete_elem(records.raw, keys)
    }
  }

  /// Writes the names up to a number that are not in the map yet.
  private func keepName(_ id: ApplicationNames.ID) throws(MemoryError) {
    while keptNames <= id.number, let name = applications.name(number: keptNames) {
      var bytes = Array(name.utf8.prefix(Int(MARKER_NAME_BYTES)))
      bytes += [UInt8](repeating: 0, count: Int(MARKER_NAME_BYTES) - bytes.count)
      var key = UInt32(keptNames)
      let status = bpf_map_update_elem(names.raw, &key, bytes, UInt64(BPF_ANY))
      guard status == 0 else { throw Self.error("bpf_map_update_elem", -status) }
      keptNames += 1
    }
  }

  private static func error(_ call: String, _ code: Int32) -> MemoryError {
    MemoryError(
      "some flows will not be known after a restart: \(SystemError(call, "records", code: code))")
  }
}

/// ENOTSUPP, which <errno.h> lacks: the kernel's own code for "this map cannot do that" (include/linux/errno.h).
private let notSupported: Int32 = 524

extension marker_record {
  init(_ record: FlowRecord) {
    self.init()
    start = UInt64(bitPattern: record.start.microseconds)
    label = record.label?.value ?? 0
    tag = record.tag.packed
    application = record.application.number
    orientation = record.orientation.rawValue
    origin = record.origin.rawValue
    holders = record.holders.rawValue
    has_socket = record.hasSocket ? 1 : 0
  }
}

extension FlowRecord {
  /// Nil for what this program never writes.
  init?(_ key: marker_key, _ record: marker_record, _ applications: [ApplicationNames.ID]) {
    guard let flow = key.flowKey, let orientation = Orientation(rawValue: record.orientation),
      let origin = Origin(rawValue: record.origin)
    else { return nil }
    let application = Int(record.application)
    self.init(
      key: flow, tag: SciTag(packed: record.tag), orientation: orientation, origin: origin,
      holders: Holders(rawValue: record.holders),
      application: application < applications.count ? applications[application] : .marker,
      start: WallClockTime(microseconds: Int64(bitPattern: record.start)),
      label: record.label == 0 ? nil : FlowLabel(Int(record.label)), hasSocket: record.has_socket != 0)
  }
}
