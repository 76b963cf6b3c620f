internal import CBPF
internal import CTable
internal import Flow
internal import Glibc
internal import Linux

/// The kernel's map of flows, written in batches.
struct FlowMap: ~Copyable {
  /// Flows in one system call.
  static let batchSize = 1024

  private let map: Int32
  private let keys: UnsafeMutablePointer<marker_key>
  private let values: UnsafeMutablePointer<marker_value>
  /// Batches came with 5.6, taking an entry while removing it with 5.14; what this kernel refused is not tried
  /// again.
  private var hasBatches = true
  /// Flows whose sockets stamp their packets are left out of counts: what passed here is a part of them only.
  var leavesOutReached = false
  private var hasTake = true

  /// - Parameter map: a descriptor that outlives this value.
  init(map: Int32) {
    self.map = map
    keys = .allocate(capacity: Self.batchSize)
    values = .allocate(capacity: Self.batchSize)
  }

  deinit {
    keys.deallocate()
    values.deallocate()
  }

  /// Whether a map has the layout that is read and written here.
  static func isOne(_ map: Int32) -> Bool {
    var info = bpf_map_info()
    var size = UInt32(MemoryLayout<bpf_map_info>.size)
    return bpf_obj_get_info_by_fd(map, &info, &size) == 0 && info.type == BPF_MAP_TYPE_HASH.rawValue
      && info.key_size == MemoryLayout<marker_key>.size && info.value_size == MemoryLayout<marker_value>.size
  }

  /// Sets flows and their marks, at most `batchSize`.
  ///
  /// - Parameter refused: called with the place of each flow that the kernel did not take, and errno.
  mutating func set(
    count: Int, _ flow: (Int) -> (FlowKey, Mark), refused: (Int, Int32) -> Void
  ) {
    for place in 0..<count {
      let (key, mark) = flow(place)
      keys[place] = marker_key(key)
      values[place] = marker_value(mark)
    }
    put(count, refused)
  }

  /// Sets one flow with what it has counted so far.
  mutating func set(_ key: FlowKey, _ mark: Mark, counted usage: Usage) throws(SystemError) {
    keys[0] = marker_key(key)
    values[0] = marker_value(mark)
    values[0].packets = usage.packets
    values[0].bytes = usage.bytes
    let status = bpf_map_update_elem(map, keys, values, UInt64(BPF_ANY))
    guard status == 0 else { throw SystemError("bpf_map_update_elem", "\(key)", code: -status) }
  }

  /// Sets a flow unless it is there; what is there stays with its counters.
  mutating func add(_ key: FlowKey, _ mark: Mark) throws(SystemError) {
    keys[0] = marker_key(key)
    values[0] = marker_value(mark)
    let status = bpf_map_update_elem(map, keys, values, UInt64(BPF_NOEXIST))
    guard status == 0 || status == -EEXIST else {
      throw SystemError("bpf_map_update_elem", "\(key)", code: -status)
    }
  }

  private mutating func put(_ count: Int, _ refused: (Int, Int32) -> Void) {
    var done = 0
    while hasBatches, done < count {
      var taken = UInt32(count - done)
      let status = bpf_map_update_batch(map, keys + done, values + done, &taken, nil)
      if status == 0 { return }
      if status == -EINVAL || status == -notSupported, taken == 0 || Int(taken) == count - done {
        hasBatches = false
        break
      }
      // The kernel stops at the entry it cannot take and says how many it took before.
      done += Int(taken)
      refused(done, -status)
      done += 1
    }
    while done < count {
      let status = bpf_map_update_elem(map, keys + done, values + done, UInt64(BPF_ANY))
      if status != 0 { refused(done, -status) }
      done += 1
    }
  }

  /// Changes the mark of a flow that is there; its counters go on.
  ///
  /// Packets that pass between reading the counters and writing them are not counted.
  ///
  /// - Throws: ENOENT where the flow is not there.
  mutating func change(_ key: FlowKey, _ mark: Mark) throws(SystemError) {
    keys[0] = marker_key(key)
    values[0] = marker_value(mark)
    var old = marker_value()
    if bpf_map_lookup_elem(map, keys, &old) == 0 {
      values[0].packets = old.packets
      values[0].bytes = old.bytes
    }
    let status = bpf_map_update_elem(map, keys, values, UInt64(BPF_EXIST))
    guard status == 0 else { throw SystemError("bpf_map_update_elem", "\(key)", code: -status) }
  }

  /// Removes a flow and returns its last count; nil where it was not there.
  mutating func take(_ key: FlowKey) throws(SystemError) -> Usage? {
    keys[0] = marker_key(key)
    var value = marker_value()
    if hasTake {
      let status = bpf_map_lookup_and_delete_elem(map, keys, &value)
      switch status {
      case 0: return value.usage
      case -ENOENT: return nil
      case -EINVAL, -notSupported, -EOPNOTSUPP: hasTake = false
      default: throw SystemError("bpf_map_lookup_and_delete_elem", "\(key)", code: -status)
      }
    }
    guard bpf_map_lookup_elem(map, keys, &value) == 0 else { return nil }
    let status = bpf_map_delete_elem(map, keys)
    guard status == 0 else { throw SystemError("bpf_map_delete_elem", "\(key)", code: -status) }
    return value.usage
  }

  /// Reports every flow and its count; nil for those that are left out of counts.
  mutating func readAll(_ body: (FlowKey, Usage?) -> Void) throws(SystemError) {
    guard hasBatches else { return try readOneByOne(body) }
    // The token says where the next batch begins; for a hash map it is the number of a bucket.
    var token: UInt32 = 0
    var first = true
    while true {
      var next: UInt32 = 0
      var count = UInt32(Self.batchSize)
      let status =
        first
        ? bpf_map_lookup_batch(map, nil, &next, keys, values, &count, nil)
        : bpf_map_lookup_batch(map, &token, &next, keys, values, &count, nil)
      switch status {
      case 0, -ENOENT:
        for place in 0..<Int(count) {
          if let key = keys[place].flowKey { body(key, usage(of: values[place])) }
        }
        if status != 0 { return }
      case -EINVAL, -notSupported, -ENOSPC:
        // ENOSPC: a bucket longer than the batch.
        return try readOneByOne(body)
      default: throw SystemError("bpf_map_lookup_batch", code: -status)
      }
      token = next
      first = false
    }
  }

  private func usage(of value: marker_value) -> Usage? {
    leavesOutReached && SocketReach(value.reach) == .reached ? nil : value.usage
  }

  /// What the sock path's programs know of a flow's socket; nil where the flow is not there.
  func reach(_ key: FlowKey) -> SocketReach? {
    var (key, value) = (marker_key(key), marker_value())
    return bpf_map_lookup_elem(map, &key, &value) == 0 ? SocketReach(value.reach) : nil
  }

  private func readOneByOne(_ body: (FlowKey, Usage?) -> Void) throws(SystemError) {
    var previous: marker_key?
    while true {
      var next = marker_key()
      var status: Int32
      if var from = previous {
        status = bpf_map_get_next_key(map, &from, &next)
      } else {
        status = bpf_map_get_next_key(map, nil, &next)
      }
      if status == -ENOENT { return }
      guard status == 0 else { throw SystemError("bpf_map_get_next_key", code: -status) }
      var value = marker_value()
      status = bpf_map_lookup_elem(map, &next, &value)
      if status == 0, let key = next.flowKey { body(key, usage(of: value)) }
      previous = next
    }
  }
}

/// What the sock path's programs know of a flow's socket.
enum SocketReach {
  /// It was not seen.
  case unseen
  /// Its packets leave stamped, from the next on.
  case reached
  /// It cannot be stamped.
  case unreachable

  init(_ reach: UInt8) {
    self =
      switch Int32(reach) {
      case MARKER_REACHED: .reached
      case MARKER_UNREACHABLE: .unreachable
      default: .unseen
      }
  }
}

/// ENOTSUPP, which <errno.h> lacks: the kernel's own code for "this map cannot do that" (include/linux/errno.h).
private let notSupported: Int32 = 524
