import CBPF
import Glibc
public import Linux

/// The BPF programs that are loaded on this machine.
public enum ProgramList {
  /// The numbers of those that a user has loaded. A program is there as long as anything holds it: a process, a link,
  /// a pin, a filter.
  public static func loaded(by user: UInt32) throws(SystemError) -> Set<UInt32> {
    var found: Set<UInt32> = []
    var id: UInt32 = 0
    while bpf_prog_get_next_id(id, &id) == 0 {
      let raw = bpf_prog_get_fd_by_id(id)
      // It may go while this looks.
      guard raw >= 0 else { continue }
      let program = Descriptor(owning: raw)
      var info = bpf_prog_info()
      var size = UInt32(MemoryLayout<bpf_prog_info>.size)
      try system("bpf_obj_get_info_by_fd") { bpf_obj_get_info_by_fd(program.raw, &info, &size) }
      if info.created_by_uid == user { found.insert(id) }
    }
    return found
  }
}
