internal import CMNL
internal import CNFT
internal import Glibc

/// Owns one of libnftnl's objects while a message is made of it.
struct NetlinkHandle: ~Copyable {
  let raw: OpaquePointer
  private let release: (OpaquePointer) -> Void

  /// - Parameter made: the object; nil only where memory is out, and there Swift stops too.
  init(_ made: OpaquePointer?, _ release: @escaping (OpaquePointer) -> Void) {
    guard let made else { preconditionFailure("libnftnl: out of memory") }
    raw = made
    self.release = release
  }

  deinit { release(raw) }

  static func table() -> NetlinkHandle { NetlinkHandle(nftnl_table_alloc()) { nftnl_table_free($0) } }
  static func chain() -> NetlinkHandle { NetlinkHandle(nftnl_chain_alloc()) { nftnl_chain_free($0) } }
  static func set() -> NetlinkHandle { NetlinkHandle(nftnl_set_alloc()) { nftnl_set_free($0) } }
  static func rule() -> NetlinkHandle { NetlinkHandle(nftnl_rule_alloc()) { nftnl_rule_free($0) } }
}

/// The nf_tables messages in use. The raw value is that of `enum nf_tables_msg_types`, linux/netfilter/nf_tables.h.
enum MessageType: UInt16, Sendable {
  case newTable = 0
  case getTable = 1
  case deleteTable = 2
  case newChain = 3
  case deleteChain = 5
  case newRule = 6
  case deleteRule = 8
  case newSet = 9
  case deleteSet = 11
  case newElements = 12
  case getElements = 13
  case deleteElements = 14
  case newGeneration = 15
}

/// A table of the family inet, which sees IPv4 and IPv6: its name.
public struct TableName: Hashable, Sendable, CustomStringConvertible {
  public let name: String
  public init(_ name: String) { self.name = name }
  /// The one table with rules that this program keeps on a host.
  public static let marker = TableName("marker")
  /// Where flows are kept for the next daemon on hosts without BPF. It has no rules.
  public static let memory = TableName("marker_memory")
  /// The name of the table that marks while one of this name is replaced.
  var standIn: TableName { TableName(name + "_standin") }
  public var description: String { "inet \(name)" }
}
