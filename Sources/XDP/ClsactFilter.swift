internal import CBPF
internal import Glibc
internal import Linux

/// A filter on one of an interface's clsact hooks, for kernels without tcx.
///
/// The qdisc and the filters of others stay as they are. A filter outlives its process, so one of ours that a killed
/// process left behind is replaced in place.
struct ClsactFilter: ~Copyable {
  private let interface: Interface
  private let direction: TCDirection
  private let priority: UInt32
  private let programID: UInt32
  /// Whether the qdisc was made here: then it goes with the filter if nobody else has come to use it.
  private let madeQdisc: Bool
  private let life: MarkLife
  private let standing = Standing()

  private final class Standing {
    /// The filter goes with this value, whatever becomes of others.
    var isWithdrawn = false
  }

  /// Our filter's handle, whatever its priority: "stag".
  private static let handle: UInt32 = 0x7374_6167
  /// Filters run by ascending priority. The first one free, so that no other's verdict ends the chain before us.
  private static let priorities: ClosedRange<UInt32> = 1...64

  /// - Parameter ownsQdisc: an earlier process made the qdisc.
  /// - Throws: what the kernel said of the last thing tried.
  init(
    program: Int32, programName: String, interface: Interface, _ direction: TCDirection = .egress,
    ownsQdisc: Bool = false, life: MarkLife = MarkLife()
  ) throws(SystemError) {
    var hook = Self.hook(interface, direction.point)
    let made = bpf_tc_hook_create(&hook)
    // EEXIST: somebody has put clsact there, which serves as well.
    guard made == 0 || made == -EEXIST else {
      throw SystemError("add qdisc clsact to", interface.name, code: -made)
    }
    // What an earlier process left: one is replaced in place, so that no packet goes unmarked; more than one would mark
    // by maps that nobody tends.
    let left = made == 0 ? [] : Self.priorities.filter { Self.occupant(&hook, $0) == programName }
    for priority in left.dropFirst() {
      var options = Self.options(priority)
      _ = bpf_tc_detach(&hook, &options)
    }
    var last: Int32 = -EBUSY
    for priority in left.first.map({ $0...$0 }) ?? Self.priorities {
      // Another's filter with our handle at this priority.
      if left.isEmpty, Self.occupant(&hook, priority) != nil { continue }
      var options = Self.options(priority)
      options.prog_fd = program
      options.flags = left.isEmpty ? 0 : BPF_TC_F_REPLACE.rawValue
      last = bpf_tc_attach(&hook, &options)
      if last == 0 {
        self.interface = interface
        self.direction = direction
        self.priority = priority
        programID = options.prog_id
        madeQdisc = made == 0 || ownsQdisc
        self.life = life
        return
      }
      // EINVAL, EEXIST: filters of another kind or protocol have this priority.
      guard last == -EINVAL || last == -EEXIST else { break }
    }
    if made == 0 { Self.removeQdiscIfUnused(interface) }
    throw SystemError("attach to clsact \(direction.rawValue) of", interface.name, code: -last)
  }

  deinit {
    if life.outlivesProcess, !standing.isWithdrawn { return }
    // Where the interface is gone, so is the filter; and one that has taken its place is not this one's to remove.
    guard isThere else { return }
    var hook = Self.hook(interface, direction.point)
    var options = Self.options(priority)
    _ = bpf_tc_detach(&hook, &options)
    if madeQdisc { Self.removeQdiscIfUnused(interface) }
  }

  /// Has another process know that the qdisc was made here: a pin of the program says so.
  func keepQdisc(at path: String) throws(SystemError) {
    guard madeQdisc else { return }
    let fd = bpf_prog_get_fd_by_id(programID)
    guard fd >= 0 else { throw SystemError("bpf_prog_get_fd_by_id", interface.name, code: -fd) }
    let program = Descriptor(owning: fd)
    try PinnedMap.pin(program.raw, path)
  }

  /// Has the filter go with this value also where the others of its path stay.
  func withdraw() { standing.isWithdrawn = true }

  /// Whether an earlier process left one on an interface.
  static func isLeft(on interface: Interface, programName: String) -> Bool {
    var hook = hook(interface, BPF_TC_EGRESS)
    return priorities.contains { occupant(&hook, $0) == programName }
  }

  /// Removes the filters that earlier processes left on an interface. The qdisc stays: others may count on it.
  ///
  /// - Returns: how many there were.
  static func removeLeft(on interface: Interface, programName: String) -> Int {
    var hook = hook(interface, BPF_TC_EGRESS)
    var removed = 0
    for priority in priorities where occupant(&hook, priority) == programName {
      var options = options(priority)
      if bpf_tc_detach(&hook, &options) == 0 { removed += 1 }
    }
    return removed
  }

  private static func hook(_ interface: Interface, _ point: bpf_tc_attach_point) -> bpf_tc_hook {
    var hook = bpf_tc_hook()
    hook.sz = optionsSize(through: \bpf_tc_hook.parent)
    hook.ifindex = Int32(interface.index)
    hook.attach_point = point
    return hook
  }

  private static func options(_ priority: UInt32) -> bpf_tc_opts {
    var options = bpf_tc_opts()
    options.sz = optionsSize(through: \bpf_tc_opts.priority)
    options.handle = handle
    options.priority = priority
    return options
  }

  /// Whether the filter is still there, and still this one.
  var isThere: Bool {
    var hook = Self.hook(interface, direction.point)
    var options = Self.options(priority)
    return bpf_tc_query(&hook, &options) == 0 && options.prog_id == programID
  }

  /// The name of the program in the filter with our handle at a priority; nil where there is none.
  private static func occupant(_ hook: inout bpf_tc_hook, _ priority: UInt32) -> String? {
    var options = options(priority)
    guard bpf_tc_query(&hook, &options) == 0 else { return nil }
    return name(ofProgram: options.prog_id) ?? ""
  }

  private static func name(ofProgram id: UInt32) -> String? {
    let fd = bpf_prog_get_fd_by_id(id)
    guard fd >= 0 else { return nil }
    let program = Descriptor(owning: fd)
    var info = bpf_prog_info()
    var size = UInt32(MemoryLayout<bpf_prog_info>.size)
    guard bpf_obj_get_info_by_fd(program.raw, &info, &size) == 0 else { return nil }
    return withUnsafeBytes(of: info.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  /// Deletes the clsact qdisc, unless a filter hangs on either side of it.
  static func removeQdiscIfUnused(_ interface: Interface) {
    guard (try? TrafficFilters.exist(on: interface)) == false else { return }
    var hook = hook(
      interface, bpf_tc_attach_point(rawValue: BPF_TC_INGRESS.rawValue | BPF_TC_EGRESS.rawValue))
    _ = bpf_tc_hook_destroy(&hook)
  }
}

extension TCDirection {
  fileprivate var point: bpf_tc_attach_point {
    switch self {
    case .ingress: BPF_TC_INGRESS
    case .egress: BPF_TC_EGRESS
    }
  }
}
