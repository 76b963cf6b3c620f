internal import CBPF
internal import Glibc
internal import Linux

/// A map that is pinned, so that it outlives the process.
struct PinnedMap: ~Copyable {
  /// What a map is made of.
  struct Layout {
    let type: bpf_map_type
    let key: Int
    let value: Int
    let size: UInt32
    var flags: UInt32 = 0
  }
  private let descriptor: Descriptor
  /// The most entries.
  let size: UInt32

  var raw: Int32 { descriptor.raw }

  /// Opens a pinned map or makes it. One that is there with another size is replaced by one with the same entries, and
  /// one of another making by an empty one.
  ///
  /// - Parameter resizes: false takes one that is there as large as it is.
  init(
    _ name: String, _ layout: Layout, in folder: BPFFolder, resizes: Bool = true
  ) throws(SystemError) {
    let path = folder.pin(name)
    let old = try Self.open(path)
    if let old {
      let left = Descriptor(owning: old)
      let size = try Self.size(left.raw, layout)
      if let size, size == layout.size || !resizes {
        descriptor = left
        self.size = size
        return
      }
      let new = try Self.make(name, layout)
      if size != nil { try Self.copy(from: left.raw, to: new.raw, layout) }
      try Self.pin(new.raw, path)
      descriptor = new
      self.size = layout.size
      return
    }
    let new = try Self.make(name, layout)
    try Self.pin(new.raw, path)
    descriptor = new
    size = layout.size
  }

  private static func open(_ path: String) throws(SystemError) -> Int32? {
    let result = bpf_obj_get(path)
    if result >= 0 { return result }
    guard result == -ENOENT else { throw SystemError("bpf_obj_get", path, code: -result) }
    return nil
  }

  /// The most entries of a map; nil for one that has another layout.
  private static func size(_ map: Int32, _ layout: Layout) throws(SystemError) -> UInt32? {
    var info = bpf_map_info()
    var size = UInt32(MemoryLayout<bpf_map_info>.size)
    let status = bpf_obj_get_info_by_fd(map, &info, &size)
    guard status == 0 else { throw SystemError("bpf_obj_get_info_by_fd", code: -status) }
    guard info.type == layout.type.rawValue, info.key_size == layout.key, info.value_size == layout.value,
      info.map_flags == layout.flags
    else { return nil }
    return info.max_entries
  }

  private static func make(_ name: String, _ layout: Layout) throws(SystemError) -> Descriptor {
    var options = bpf_map_create_opts()
    options.sz = optionsSize(through: \bpf_map_create_opts.map_ifindex)
    options.map_flags = layout.flags
    // Names of maps have at most 15 characters.
    let result = bpf_map_create(
      layout.type, "marker_\(name.prefix(8))", UInt32(layout.key), UInt32(layout.value), layout.size, &options
    )
    guard result >= 0 else { throw SystemError("bpf_map_create", name, code: -result) }
    return Descriptor(owning: result)
  }

  /// Pins a map in place of one that has its path.
  static func pin(_ map: Int32, _ path: String) throws(SystemError) {
    // Names with dots are refused (kernel/bpf/inode.c).
    let beside = "\(path)-new"
    unlink(beside)
    let status = bpf_obj_pin(map, beside)
    guard status == 0 else { throw SystemError("bpf_obj_pin", beside, code: -status) }
    guard rename(beside, path) == 0 else {
      let error = SystemError("rename", beside)
      unlink(beside)
      throw error
    }
  }

  /// Copies as many entries as there is room for.
  private static func copy(from old: Int32, to new: Int32, _ layout: Layout) throws(SystemError) {
    var key = [UInt8](repeating: 0, count: layout.key)
    var next = key
    var value = [UInt8](repeating: 0, count: layout.value)
    var status = bpf_map_get_next_key(old, nil, &next)
    while status == 0 {
      key = next
      if bpf_map_lookup_elem(old, key, &value) == 0 {
        let written = bpf_map_update_elem(new, key, value, UInt64(BPF_ANY))
        if written == -E2BIG { return }
        guard written == 0 else { throw SystemError("bpf_map_update_elem", code: -written) }
      }
      status = bpf_map_get_next_key(old, key, &next)
    }
    guard status == -ENOENT else { throw SystemError("bpf_map_get_next_key", code: -status) }
  }
}
