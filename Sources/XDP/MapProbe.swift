internal import CBPF
internal import CTable
internal import Glibc
internal import Linux

/// Makes maps of every kind that marking uses, and uses them.
enum MapProbe {
  static let all: [(what: String, finding: @Sendable () -> Finding)] = [
    ("hash map as flows come (no prealloc)", { create(BPF_MAP_TYPE_HASH, flags: Int(BPF_F_NO_PREALLOC)) }),
    ("hash map that forgets the oldest (LRU)", { create(BPF_MAP_TYPE_LRU_HASH) }),
    ("array in the process's memory (mmap)", { .attempt(need: BPFProbe.need, mapped) }),
    ("storage in sockets (sk_storage)", { .attempt(need: BPFProbe.need, socketStorage) }),
    ("map of AF_XDP sockets (xskmap)", { create(BPF_MAP_TYPE_XSKMAP, key: 4, value: 4) }),
    ("many flows in one call (batch)", { .attempt(need: BPFProbe.need, batch) }),
  ]

  /// The map of flows as the tc path makes it. Where memory is counted as it is promised, this is where it lacks.
  static func table(_ maxFlows: Int) -> Finding {
    create(
      BPF_MAP_TYPE_HASH, key: MemoryLayout<marker_key>.stride, value: MemoryLayout<marker_value>.stride,
      entries: maxFlows, flags: Int(BPF_F_NO_PREALLOC))
  }

  private static func create(
    _ type: bpf_map_type, key: Int = 16, value: Int = 16, entries: Int = 8, flags: Int = 0
  ) -> Finding {
    .attempt(need: BPFProbe.need) { () throws(SystemError) in
      _ = try map(type, key: key, value: value, entries: entries, flags: UInt32(flags))
      return ""
    }
  }

  static func map(
    _ type: bpf_map_type, key: Int, value: Int, entries: Int, flags: UInt32 = 0, btf: Int32? = nil
  ) throws(SystemError) -> Descriptor {
    var options = bpf_map_create_opts()
    options.sz = optionsSize(through: \bpf_map_create_opts.map_ifindex)
    options.map_flags = flags
    if let btf {
      options.btf_fd = UInt32(btf)
      // The only type in it, an int, for key and value.
      options.btf_key_type_id = 1
      options.btf_value_type_id = 1
    }
    let result = bpf_map_create(
      type, "marker_probe", UInt32(key), UInt32(value), UInt32(entries), &options)
    guard result >= 0 else { throw SystemError("BPF_MAP_CREATE", code: -result) }
    return Descriptor(owning: result)
  }

  /// Writes through the mapping and reads by the call.
  private static func mapped() throws(SystemError) -> String {
    let size = sysconf(Int32(_SC_PAGESIZE))
    let array = try map(
      BPF_MAP_TYPE_ARRAY, key: 4, value: size, entries: 1, flags: UInt32(BPF_F_MMAPABLE))
    let mapping = try Mapping("a map", size: size, flags: MAP_SHARED, array.raw)
    let written: UInt32 = 0x1803c
    mapping.start.storeBytes(of: written, as: UInt32.self)
    var key: UInt32 = 0
    var value = [UInt32](repeating: 0, count: size / 4)
    let status = bpf_map_lookup_elem(array.raw, &key, &value)
    guard status == 0 else { throw SystemError("BPF_MAP_LOOKUP_ELEM", code: -status) }
    guard value[0] == written else {
      throw SystemError("what was written by the mapping is not in the map", code: EIO)
    }
    return ""
  }

  /// The kernel wants to know the types of such a map (BTF).
  private static func socketStorage() throws(SystemError) -> String {
    guard let types = btf__new_empty() else { throw SystemError("btf__new_empty") }
    defer { btf__free(types) }
    let id = btf__add_int(types, "int", 4, Int32(BTF_INT_SIGNED))
    guard id > 0 else { throw SystemError("btf__add_int", code: -id) }
    let status = btf__load_into_kernel(types)
    _ = LibbpfLog.take()
    guard status == 0 else { throw SystemError("BPF_BTF_LOAD", code: -status) }
    _ = try map(
      BPF_MAP_TYPE_SK_STORAGE, key: 4, value: 4, entries: 0, flags: UInt32(BPF_F_NO_PREALLOC),
      btf: btf__fd(types))
    return ""
  }

  /// Sets some entries in one call and reads them back in another.
  private static func batch() throws(SystemError) -> String {
    let hash = try map(
      BPF_MAP_TYPE_HASH, key: 4, value: 4, entries: 8, flags: UInt32(BPF_F_NO_PREALLOC))
    let keys: [UInt32] = [1, 2, 3]
    let values: [UInt32] = [11, 12, 13]
    var count = UInt32(keys.count)
    var status = bpf_map_update_batch(hash.raw, keys, values, &count, nil)
    guard status == 0 else { throw SystemError("BPF_MAP_UPDATE_BATCH", code: -status) }
    var readKeys = [UInt32](repeating: 0, count: 8)
    var readValues = readKeys
    var token: UInt32 = 0
    count = UInt32(readKeys.count)
    status = bpf_map_lookup_batch(hash.raw, nil, &token, &readKeys, &readValues, &count, nil)
    // ENOENT is the end of the map.
    guard status == 0 || status == -ENOENT else {
      throw SystemError("BPF_MAP_LOOKUP_BATCH", code: -status)
    }
    let read = Set(zip(readKeys, readValues).prefix(Int(count)).map { [$0, $1] })
    guard read == Set(zip(keys, values).map { [$0, $1] }) else {
      throw SystemError("what was set in a batch is not what is read", code: EIO)
    }
    return ""
  }
}
