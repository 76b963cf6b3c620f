import Lab
import Linux

/// BPF objects as /proc/PID/fdinfo names them.
enum HeldKind: String {
  case program = "prog_id"
  case map = "map_id"
}

/// Numbers of the BPF objects that a process has descriptors of: other daemons on the host have objects of the same
/// names.
func held(_ kind: HeldKind, by process: Int32) throws(SystemError) -> [UInt32] {
  // A descriptor may be closed meanwhile.
  try shell("sed -n 's/^\(kind.rawValue):[^0-9]*//p' /proc/\(process)/fdinfo/* 2>/dev/null; true")
    .split(separator: "\n").compactMap { UInt32($0) }.sorted()
}
