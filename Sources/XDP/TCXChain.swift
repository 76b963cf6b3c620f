internal import CLinux
internal import Linux

/// What runs at one of an interface's tcx hooks, in its order (kernel 6.6 and later).
struct TCXChain {
  private var entries: [(program: UInt32, link: UInt32)] = []

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
  private static let query: Int32 = 16  // BPF_PROG_QUERY
  private static let ingress: UInt32 = 46  // BPF_TCX_INGRESS
  private static let egress: UInt32 = 47  // BPF_TCX_EGRESS
  /// The most programs that the kernel has in a chain: BPF_MPROG_MAX of <linux/bpf_mprog.h>.
  private static let room = 64

  init(of interface: Interface, _ direction: TCDirection) throws(SystemError) {
    var programs = [UInt32](repeating: 0, count: Self.room)
    var links = programs
    var count: UInt32 = 0
    try system("list the tcx programs of", interface.name) {
      programs.withUnsafeMutableBytes { programs in
        links.withUnsafeMutableBytes { links in
          var query = Query(
            interface: interface.index, attachType: direction == .ingress ? Self.ingress : Self.egress,
            programs: UInt64(UInt(bitPattern: programs.baseAddress)), count: UInt32(Self.room),
            links: UInt64(UInt(bitPattern: links.baseAddress)))
          let status = clinux_bpf(Self.query, &query, UInt32(MemoryLayout<Query>.size))
          count = query.count
          return status
        }
      }
    }
    entries = (0..<min(Int(count), Self.room)).map { (programs[$0], links[$0]) }
  }

  /// How a link's place is to the one asked for.
  enum Standing {
    case asAsked
    /// It is the first because the neighbour that the order names is not there.
    case withoutNeighbour
    /// It has to move.
    case elsewhere
  }

  func standing(of link: UInt32, _ order: TCXOrder) -> Standing {
    guard let own = entries.firstIndex(where: { $0.link == link }) else { return .elsewhere }
    guard let (neighbour, isAhead) = order.neighbour else {
      return own == (order == .first ? 0 : entries.count - 1) ? .asAsked : .elsewhere
    }
    let other = entries.firstIndex { entry in
      switch neighbour {
      case .program(let number): entry.program == number
      case .link(let number): entry.link == number
      }
    }
    guard let other else { return own == 0 ? .withoutNeighbour : .elsewhere }
    return (own < other) == isAhead ? .asAsked : .elsewhere
  }
}
