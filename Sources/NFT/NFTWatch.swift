internal import CLinux
internal import CMNL
internal import CNFT
internal import Glibc
public import Linux

/// Notices when somebody else removes our table or something in it, a `flush ruleset` of a firewall service for
/// example. Its own path's transactions are never reported: the kernel filters them out before they reach the socket.
public struct NFTWatch: ~Copyable, Sendable {
  /// Who changed the rules, as the kernel tells it.
  public struct Changer: Hashable, Sendable, CustomStringConvertible {
    public let process: String
    public let pid: UInt32
    public var description: String { "\(process)[\(pid)]" }
  }

  public enum Finding: Equatable, Sendable {
    case nothing
    /// Something of ours was removed: `NFTPath.restore` is due.
    case harmed(by: Changer?)
    /// More was reported than the socket could hold: `NFTPath.isThere` tells.
    case missed
  }

  private let socket: Descriptor
  private let table: TableName

  /// Listens in the calling thread's network namespace.
  ///
  /// - Parameter path: the path to watch over.
  public init(for path: NFTPath) throws(SystemError) {
    let made = try Descriptor("socket", "NETLINK_NETFILTER") {
      Glibc.socket(
        AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue),
        NETLINK_NETFILTER)
    }
    try Self.ignore(path.port, made.raw)
    var room: Int32 = 8 << 20
    if setsockopt(made.raw, SOL_SOCKET, SO_RCVBUFFORCE, &room, 4) != 0 {
      setsockopt(made.raw, SOL_SOCKET, SO_RCVBUF, &room, 4)
    }
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    // A group is a bit, counted from 1.
    address.nl_groups = 1 << (UInt32(NFNLGRP_NFTABLES.rawValue) - 1)
    try system("bind", "NFNLGRP_NFTABLES") {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(made.raw, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
        }
      }
    }
    socket = made
    table = path.table
  }

  /// Readable when there may be something to find.
  public var descriptor: Int32 { socket.raw }

  /// Reads what has been reported since the last time; does not wait.
  public func check() throws(SystemError) -> Finding {
    var harmed = false
    var changer: Changer?
    let name = table.name
    return try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 8) { room throws(SystemError) in
      while true {
        let count = recv(socket.raw, room.baseAddress, room.count, 0)
        if count < 0 {
          switch errno {
          case EINTR: continue
          case EAGAIN: return harmed ? .harmed(by: changer) : .nothing
          case ENOBUFS: return .missed
          default: throw SystemError("recv", "NFNLGRP_NFTABLES")
          }
        }
        Message.forEach(in: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<count])) {
          switch $0.nfTables {
          case .deleteTable, .deleteChain, .deleteRule, .deleteSet, .deleteElements:
            // The table's name is attribute 1 of all of them.
            if $0.family == UInt8(NFPROTO_INET), $0.attributes.value(NFTA_TABLE_NAME.rawValue)?.text == name {
              harmed = true
            }
          case .newGeneration:
            // Ends each transaction's reports.
            if harmed, changer == nil { changer = Changer($0.attributes) }
          default: break
          }
        }
      }
    }
  }

  /// Has the kernel drop what the socket with this number has caused.
  private static func ignore(_ port: UInt32, _ socket: Int32) throws(SystemError) {
    // linux/filter.h. The port stands at byte 12 of struct nlmsghdr, in host order; the filter loads in network order.
    var program = [
      sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: 12),
      sock_filter(code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: 0, jf: 1, k: port.bigEndian),
      sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0),
      sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: .max),
    ]
    try system("setsockopt", "SO_ATTACH_FILTER") {
      program.withUnsafeMutableBufferPointer { instructions in
        var filter = sock_fprog(len: UInt16(instructions.count), filter: instructions.baseAddress)
        return setsockopt(
          socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, socklen_t(MemoryLayout<sock_fprog>.size))
      }
    }
  }
}

extension NFTWatch.Changer {
  /// From the attributes of NFT_MSG_NEWGEN.
  init?(_ attributes: Attributes) {
    guard let name = attributes.value(NFTA_GEN_PROC_NAME.rawValue),
      let pid = attributes.value(NFTA_GEN_PROC_PID.rawValue)
    else { return nil }
    process = name.text
    self.pid = pid.bigEndian(UInt32.self)
  }
}
