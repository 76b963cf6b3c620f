/// The size to give libbpf for one of its option structures: up to the end of its last field.
///
/// libbpf refuses a structure with anything but zero behind the fields it knows, and Swift does not copy the padding
/// that C's `sizeof` counts.
func optionsSize<Options, Field>(through last: KeyPath<Options, Field>) -> Int {
  guard let offset = MemoryLayout<Options>.offset(of: last) else { return MemoryLayout<Options>.size }
  return offset + MemoryLayout<Field>.size
}
