internal import CBPF
internal import CLinux
internal import Glibc
internal import Linux

/// A program at the head of one of an interface's tcx chains (kernel 6.6 and later).
///
/// It leaves with its descriptors: when this value goes, and when the process dies. Pinned it stays, and the next process
/// swaps its own program in without a packet between.
struct TCXLink: ~Copyable {
  private let descriptor: Descriptor
  private let pin = Pin()
  private let life: MarkLife
  /// The neighbour is not there that it was to be beside: it is at the head.
  private(set) var isMisplaced = false

  private final class Pin {
    /// Where the link is pinned; nil for nowhere.
    var path: String?
    /// Where an earlier process pinned it, to be removed once it is pinned at a place of this one's.
    var earlier: String?
    /// The link goes with this value, whatever becomes of others.
    var isWithdrawn = false
  }

  /// The part of `union bpf_attr` that BPF_LINK_CREATE reads (<linux/bpf.h> of 6.6; Debian 12's has no tcx yet, and
  /// its libbpf no way to ask for a place in the chain).
  private struct LinkCreate {
    var program: UInt32
    var interface: UInt32
    var attachType: UInt32
    var flags: UInt32
    var relative: UInt32 = 0
    var padding: UInt32 = 0
    var expectedRevision: UInt64 = 0
  }
  private static let linkCreate: Int32 = 28  // BPF_LINK_CREATE
  private static let tcxIngress: UInt32 = 46  // BPF_TCX_INGRESS
  private static let tcxEgress: UInt32 = 47  // BPF_TCX_EGRESS

  /// - Parameters:
  ///   - order: where in the chain the link is to be.
  ///   - pinned: the paths of pins from earlier processes; the first that is there is taken over. None makes a new link,
  ///     and so does one at another place than asked for: that one goes on beside it until this one is kept.
  /// - Throws: EINVAL where the kernel has no tcx.
  init(
    program: Int32, interface: Interface, _ direction: TCDirection = .egress,
    order: TCXOrder = .first, pinned: [String] = [], life: MarkLife = MarkLife()
  ) throws(SystemError) {
    self.life = life
    for path in pinned {
      guard let left = try Self.left(at: path, interface) else { continue }
      let link = Descriptor(owning: left)
      pin.earlier = path
      guard let id = Self.info(ofLink: link.raw)?.id else { break }
      let standing = try TCXChain(of: interface, direction).standing(of: id, order)
      if standing == .elsewhere { break }
      let status = bpf_link_update(link.raw, program, nil)
      guard status == 0 else { throw SystemError("bpf_link_update", interface.name, code: -status) }
      descriptor = link
      pin.path = path
      isMisplaced = standing == .withoutNeighbour
      return
    }
    do throws(SystemError) {
      descriptor = try Self.make(program, interface, direction, order)
    } catch {
      // ENOENT: the neighbour is not in this chain.
      guard error.code == ENOENT, order.isRelative else { throw error }
      descriptor = try Self.make(program, interface, direction, .first)
      isMisplaced = true
    }
  }

  private static func make(
    _ program: Int32, _ interface: Interface, _ direction: TCDirection, _ order: TCXOrder
  ) throws(SystemError) -> Descriptor {
    let place = order.words
    var attributes = LinkCreate(
      program: UInt32(program), interface: interface.index,
      attachType: direction == .ingress ? tcxIngress : tcxEgress, flags: place.flags, relative: place.relative
    )
    return try Descriptor("attach to tcx \(direction.rawValue) of", interface.name) {
      clinux_bpf(linkCreate, &attributes, UInt32(MemoryLayout<LinkCreate>.size))
    }
  }

  deinit {
    guard let path = pin.path, pin.isWithdrawn || !life.outlivesProcess, isPinned(at: path) else { return }
    unlink(path)
  }

  /// Where the link is pinned, by this process or an earlier one; nil for nowhere.
  var pinned: String? { pin.path }

  /// Has the link outlive the process. What is pinned there gives way at the same moment.
  func keep(at path: String) throws(SystemError) {
    guard pin.path != path || !isPinned(at: path) else { return }
    try PinnedMap.pin(descriptor.raw, path)
    if let earlier = pin.earlier, earlier != path { unlink(earlier) }
    pin.path = path
    pin.earlier = nil
  }

  /// Whether a pin is this link's. A path that follows this one may have put its own in its place.
  private func isPinned(at path: String) -> Bool {
    let fd = bpf_obj_get(path)
    guard fd >= 0 else { return false }
    let there = Descriptor(owning: fd)
    guard let own = Self.info(ofLink: descriptor.raw) else { return false }
    return Self.info(ofLink: there.raw)?.id == own.id
  }

  /// Has the link go with this value also where the others of its path stay.
  func withdraw() { pin.isWithdrawn = true }

  /// The descriptor of a pinned link; nil where there is no pin, or its interface has gone, and with it all that it did.
  private static func left(at path: String, _ interface: Interface) throws(SystemError) -> Int32? {
    let fd = bpf_obj_get(path)
    guard fd >= 0 else {
      // EACCES is what the kernel says of a folder in that place.
      guard fd == -ENOENT || fd == -EACCES else { throw SystemError("bpf_obj_get", path, code: -fd) }
      return nil
    }
    let link = Descriptor(owning: fd)
    guard interfaceIndex(ofLink: link.raw) == interface.index else { return nil }
    return link.take()
  }

  /// The interface that a tcx link is attached to; 0 where it has gone; nil for what is no tcx link.
  static func interfaceIndex(ofLink fd: Int32) -> UInt32? { info(ofLink: fd)?.interface }

  private static func info(ofLink fd: Int32) -> LinkInfo? {
    var info = LinkInfo()
    let status = withUnsafeMutableBytes(of: &info) { bytes in
      var attributes = GetInfo(
        descriptor: UInt32(fd), length: UInt32(bytes.count), info: UInt64(UInt(bitPattern: bytes.baseAddress))
      )
      return clinux_bpf(Self.getInfo, &attributes, UInt32(MemoryLayout<GetInfo>.size))
    }
    return status == 0 && info.type == Self.tcxType ? info : nil
  }

  /// The part of `union bpf_attr` that BPF_OBJ_GET_INFO_BY_FD reads.
  private struct GetInfo {
    var descriptor: UInt32
    var length: UInt32
    var info: UInt64
  }
  private static let getInfo: Int32 = 15  // BPF_OBJ_GET_INFO_BY_FD

  /// `struct bpf_link_info` as far as it says where a tcx link is (<linux/bpf.h> of 6.6).
  private struct LinkInfo {
    var type: UInt32 = 0
    var id: UInt32 = 0
    var program: UInt32 = 0
    var padding: UInt32 = 0
    var interface: UInt32 = 0
    var attachType: UInt32 = 0
  }
  private static let tcxType: UInt32 = 11  // BPF_LINK_TYPE_TCX
}
