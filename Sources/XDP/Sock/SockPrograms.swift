internal import CBPF
internal import CLinux
internal import Glibc
internal import Linux

/// The program that stamps sockets, at TCP's events of a control group. The link goes with this value, and with the
/// process.
struct SockAttachment: ~Copyable {
  private let link: Descriptor

  /// - Parameter group: the folder of a version 2 group, whose processes' sockets are meant and those of the groups
  ///   below it.
  init(program: Int32, group: String) throws(BPFError) {
    do throws(SystemError) {
      let folder = try Descriptor("open", group) { open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
      // Links are always of those that leave others in place (BPF_F_ALLOW_MULTI).
      let result = bpf_link_create(program, folder.raw, BPF_CGROUP_SOCK_OPS, nil)
      guard result >= 0 else { throw SystemError("attach sock_ops to", group, code: -result) }
      link = Descriptor(owning: result)
    } catch {
      throw .attach(error)
    }
  }
}

/// Goes through all TCP sockets of the calling thread's network namespace and arms those whose flow came or went.
struct SocketArming: ~Copyable {
  private let object: BPFObject
  private let link: Descriptor

  /// - Parameter maps: those of the program that stamps, by name.
  /// - Throws: where the kernel's iterators do not let callbacks be set, before 6.12, or it has no BTF.
  init(sharing maps: [String: Int32]) throws(BPFError) {
    let loaded = try BPFObject(.sockets, program: "marker_arm", shared: maps)
    let result = bpf_link_create(try loaded.program("marker_arm"), 0, BPF_TRACE_ITER, nil)
    guard result >= 0 else { throw .attach(SystemError("attach the socket iterator", code: -result)) }
    link = Descriptor(owning: result)
    object = loaded
  }

  func run() throws(SystemError) {
    let walk = try Descriptor("BPF_ITER_CREATE") { bpf_iter_create(link.raw) }
    var nothing: UInt64 = 0
    // The program writes nothing; reading has it run. EAGAIN comes after a million sockets, for a breath.
    while true {
      let count = read(walk.raw, &nothing, MemoryLayout<UInt64>.size)
      if count == 0 { return }
      guard count > 0 || errno == EAGAIN || errno == EINTR else {
        throw SystemError("read", "the socket iterator")
      }
    }
  }
}
