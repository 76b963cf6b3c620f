import CLinux
public import Linux

/// What runs at an interface's tcx hooks, in its order.
public struct TCXChain: Sendable {
  public struct Entry: Equatable, Sendable {
    public let program: UInt32
    /// 0 for a program that is attached without a link.
    public let link: UInt32
  }

  /// The part of `union bpf_attr` that BPF_PROG_QUERY reads (<linux/bpf.h> of 6.6).
  private struct Query {
    var interface: UInt32
    var attachType: UInt32
    var queryFlags: UInt32 = 0
    var attachFlags: UInt32 = 0
    var programs: UInt64
    var count: UInt32
    var padding: UInt32 = 0
    var programFlags: UInt64 = 0
    var links: UInt64
    var linkFlags: UInt64 = 0
    var revision: UInt64 = 0
  }
  private static let room = 64

  /// - Parameter attachType: 46 is BPF_TCX_INGRESS, 47 BPF_TCX_EGRESS.
  public static func entries(onIndex interface: UInt32, _ attachType: UInt32 = 47) throws(SystemError)
    -> [Entry]
  {
    var programs = [UInt32](repeating: 0, count: room)
    var links = [UInt32](repeating: 0, count: room)
    var count: UInt32 = 0
    try system("BPF_PROG_QUERY") {
      programs.withUnsafeMutableBytes { programs in
        links.withUnsafeMutableBytes { links in
          var query = Query(
            interface: interface, attachType: attachType,
            programs: UInt64(UInt(bitPattern: programs.baseAddress)), count: UInt32(room),
            links: UInt64(UInt(bitPattern: links.baseAddress)))
          let status = clinux_bpf(16, &query, UInt32(MemoryLayout<Query>.size))
          count = query.count
          return status
        }
      }
    }
    return (0..<Int(count)).map { Entry(program: programs[$0], link: links[$0]) }
  }
}
