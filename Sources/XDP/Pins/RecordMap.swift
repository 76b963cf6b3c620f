internal import CBPF
internal import CTable
public import Flow
internal import Glibc
public import Linux

/// Keeps the records of flows in pinned maps of the kernel: they outlive the process, as the marks do, and go with the
/// host's next boot.
public final class RecordMap: FlowMemory {
  private let folder: BPFFolder
  private var records: PinnedMap
  private let names: PinnedMap
  private let life: PinnedMap
  private let applications: ApplicationNames
  /// Names below this number are in the map; the first is this program's own.
  private var keptNames: UInt16 = 1
  private var kept: ContiguousArray<FlowRecord> = []
  private var dropped: ContiguousArray<FlowKey> = []
  /// What the kernel refused for reasons that may pass, for the next time.
  private var deferred: [FlowKey: FlowRecord] = [:]
  private let keys: UnsafeMutablePointer<marker_key>
  private let values: UnsafeMutablePointer<marker_record>
  /// Batches came with 5.6; what this kernel refused is not tried again.
  private var hasBatches = true

  /// Flows in one system call.
  private static let batchSize = 1024

  /// Opens the maps that an earlier process has left, or makes them.
  ///
  /// - Parameter maxFlows: the most records; nil leaves that as it is, for what is only read.
  public init(
    in folder: BPFFolder, maxFlows: Int?, _ applications: ApplicationNames
  ) throws(MemoryError) {
    LibbpfLog.install()
    do throws(SystemError) {
      let records = try PinnedMap(
        "records", Self.layout(maxFlows ?? 1), in: folder, resizes: maxFlows != nil)
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
      throw MemoryError("cannot keep flows beyond the daemon's end: \(error)", mayPass: error.mayPass)
    }
    self.applications = applications
    self.folder = folder
    keys = .allocate(capacity: Self.batchSize)
    values = .allocate(capacity: Self.batchSize)
  }

  private static func layout(_ maxFlows: Int) -> PinnedMap.Layout {
    PinnedMap.Layout(
      type: BPF_MAP_TYPE_HASH, key: MemoryLayout<marker_key>.size, value: MemoryLayout<marker_record>.size,
      size: UInt32(clamping: maxFlows), flags: UInt32(BPF_F_NO_PREALLOC))
  }

  public func makeRoom(for maxFlows: Int) throws(MemoryError) {
    guard UInt32(clamping: maxFlows) > records.size else { return }
    do throws(SystemError) {
      records = try PinnedMap("records", Self.layout(maxFlows), in: folder)
    } catch {
      throw MemoryError("\(error)")
    }
  }

  public func forgetAll() throws(MemoryError) {
    do throws(SystemError) { try folder.removeAll() } catch {
      throw MemoryError("what was kept for the next daemon stays: \(error)", mayPass: error.mayPass)
    }
  }

  deinit {
    keys.deallocate()
    values.deallocate()
  }

  /// Whether an earlier process has left records in a folder.
  public static func isLeft(in folder: BPFFolder) -> Bool { folder.has("records") }

  /// Whether who keeps records in a folder has given no sign of life for a day. A daemon that runs gives one every half
  /// minute.
  public static func isAbandoned(_ folder: String, at now: MonotonicTime) -> Bool {
    let fd = bpf_obj_get("\(folder)/life")
    guard fd >= 0 else { return false }
    let life = Descriptor(owning: fd)
    var (key, value): (UInt32, UInt64) = (0, 0)
    guard bpf_map_lookup_elem(life.raw, &key, &value) == 0 else { return false }
    return now.microseconds(since: MonotonicTime(nanoseconds: value)) > 86_400_000_000
  }

  /// Nobody but root reaches a pinned map.
  public var hasLostAll: Bool { false }

  /// When the process that kept the records last gave a sign of life.
  public var lastLife: MonotonicTime {
    var (key, value): (UInt32, UInt64) = (0, 0)
    return MonotonicTime(nanoseconds: bpf_map_lookup_elem(life.raw, &key, &value) == 0 ? value : 0)
  }

  public func recall(_ body: (FlowRecord) -> Void) throws(MemoryError) -> Bool {
    let ids = try recallNames()
    var previous: marker_key?
    var strange: [marker_key] = []
    // Not at once: the kernel begins again with the first key where the last one is gone.
    defer { for var key in strange { _ = bpf_map_delete_elem(records.raw, &key) } }
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
      guard status == 0 || status == -ENOENT else { throw Self.error("bpf_map_lookup_elem", -status) }
      if status == 0 {
        if let record = FlowRecord(next, value, ids) { body(record) } else { strange.append(next) }
      }
      previous = next
    }
  }

  /// The names that were kept, which get numbers of this process in the same order.
  private func recallNames() throws(MemoryError) -> [ApplicationNames.ID] {
    var ids: [ApplicationNames.ID] = [.marker]
    var bytes = [UInt8](repeating: 0, count: Int(MARKER_NAME_BYTES))
    for number in 1..<UInt32(MARKER_MAX_NAMES) {
      var key = number
      let status = bpf_map_lookup_elem(names.raw, &key, &bytes)
      guard status == 0 else { throw Self.error("bpf_map_lookup_elem", -status) }
      guard bytes[0] != 0 else { break }
      ids.append(applications.id(of: String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)))
    }
    return ids
  }

  public func keep(_ record: FlowRecord) {
    if !deferred.isEmpty { deferred[record.key] = nil }
    kept.append(record)
  }

  public func drop(_ key: FlowKey) {
    if !deferred.isEmpty { deferred[key] = nil }
    dropped.append(key)
  }

  public func settle(at now: MonotonicTime) throws(MemoryError) {
    var failure: MemoryError?
    kept.append(contentsOf: deferred.values)
    deferred.removeAll()
    // A flow that ended and began again is in both: what is kept comes last.
    do throws(MemoryError) { try forget() } catch { failure = error }
    for start in stride(from: 0, to: kept.count, by: Self.batchSize) {
      do throws(MemoryError) {
        try write(kept[start..<min(start + Self.batchSize, kept.count)])
      } catch {
        failure = failure ?? error
      }
    }
    kept.removeAll(keepingCapacity: kept.count <= Self.batchSize)
    var (key, value) = (UInt32(0), now.nanoseconds)
    let status = bpf_map_update_elem(life.raw, &key, &value, UInt64(BPF_ANY))
    if status != 0 { failure = failure ?? Self.error("bpf_map_update_elem", -status) }
    if let failure { throw failure }
  }

  private func write(_ flows: ArraySlice<FlowRecord>) throws(MemoryError) {
    var nameless: MemoryError?
    for (place, record) in flows.enumerated() {
      // Without its application's name a flow is still known.
      do throws(MemoryError) { try keepName(record.application) } catch { nameless = error }
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
      let isUnknown = status == -EINVAL || status == -notSupported
      // The call itself failed, and says nothing of entries.
      if Int(taken) >= flows.count - done || taken == 0 && isUnknown {
        if isUnknown { hasBatches = false }
        break
      }
      // The kernel stops at the entry it cannot take and says how many it took before.
      failure = status
      done += Int(taken)
      put(off: flows[flows.startIndex + done], status)
      done += 1
    }
    while done < flows.count {
      let status = bpf_map_update_elem(records.raw, keys + done, values + done, UInt64(BPF_ANY))
      if status != 0 {
        failure = status
        put(off: flows[flows.startIndex + done], status)
      }
      done += 1
    }
    if failure != 0 { throw Self.error("bpf_map_update_elem", -failure) }
    if let nameless { throw nameless }
  }

  /// A full map stays full until flows end, and then others come; all else may pass.
  private func put(off record: FlowRecord, _ status: Int32) {
    if status != -E2BIG { deferred[record.key] = record }
  }

  private func forget() throws(MemoryError) {
    var failure: MemoryError?
    var left: ContiguousArray<FlowKey> = []
    for key in dropped {
      keys[0] = marker_key(key)
      let status = bpf_map_delete_elem(records.raw, keys)
      // Not there is as good: it may never have been kept.
      if status == 0 || status == -ENOENT { continue }
      left.append(key)
      failure = failure ?? MemoryError("\(SystemError("bpf_map_delete_elem", "records", code: -status))")
    }
    swap(&dropped, &left)
    if let failure { throw failure }
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
    let error = SystemError(call, "records", code: code)
    return MemoryError("some flows will not be known after a restart: \(error)", mayPass: error.mayPass)
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
