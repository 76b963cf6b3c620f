internal import CTable
internal import Glibc
internal import Linux

/// What the sock path's programs are told, and what they count, mapped into this process.
struct SockControl: ~Copyable {
  private let mapping: Mapping

  /// - Parameter map: the descriptor of the object's map `stamping`.
  init(map: Int32) throws(BPFError) {
    do throws(SystemError) {
      mapping = try Mapping(
        "the sock programs' settings", size: MemoryLayout<marker_stamping>.stride, flags: MAP_SHARED, map)
    } catch {
      throw .map(error)
    }
  }

  private var stamping: UnsafeMutablePointer<marker_stamping> {
    mapping.start.assumingMemoryBound(to: marker_stamping.self)
  }

  /// The cookie of the network namespace whose sockets are meant.
  func setNamespace(_ cookie: UInt64) { stamping.pointee.namespace_cookie = cookie }

  /// Has every socket call back at acknowledgements, from its set-up on.
  func setCallsBackAlways(_ always: Bool) {
    // BPF_SOCK_OPS_RTT_CB_FLAG of <linux/bpf.h>.
    stamping.pointee.callbacks = always ? 1 << 3 : 0
  }

  /// Has the programs do without SO_TXREHASH, as on kernels that do not let them set it.
  func setRehashes(_ rehashes: Bool) { stamping.pointee.rehashes = rehashes ? 1 : 0 }

  /// Has sockets given back what they had, whether their flows are there or not.
  func release() { stamping.pointee.released = 1 }

  var counts: SockCounts {
    let all = stamping.pointee
    return SockCounts(
      stamped: all.stamped, restored: all.restored, refused: all.refused, rehashing: all.rehashing,
      armed: all.armed, called: all.called)
  }
}

/// What the sock path's programs have done to sockets since they were loaded. A socket counts each time.
public struct SockCounts: Equatable, Sendable {
  public let stamped: UInt64
  /// Given back what they had by themselves.
  public let restored: UInt64
  /// Sockets of tagged flows that cannot be stamped.
  public let refused: UInt64
  /// Stamped ones whose label has to be put back after the kernel has drawn another.
  public let rehashing: UInt64
  /// Asked to call back before their next packet, and called back.
  public let armed: UInt64
  public let called: UInt64
}
