/// A way of getting marks into packets. A path is a function of the table's changes: it holds no flow state
/// of its own beyond what the kernel needs from it.
///
/// Called from the table's writer only, so an implementation need not be safe for several threads.
public protocol MarkingPath: AnyObject {
  var kind: PathKind { get }

  /// The families whose packets this path marks, where another path marks the others. Settled before the first change.
  var families: AddressFamilies { get set }

  /// Carries a batch's changes into the kernel. One refused change does not lose its neighbours: the path
  /// sets the `failure` of each that was refused, and the `usage` of each flow that it unmarked and counted.
  /// Changes of address families that the path does not serve are passed over.
  func apply(_ batch: inout ChangeBatch)

  /// Marks every packet that no flow matches, or with nil stops doing so. Marks of families that the path does not
  /// serve are passed over.
  func markAll(_ marks: ScopeMarks?) throws(PathError)

  /// Reports the counters of every marked flow.
  func readUsage(_ body: (FlowKey, Usage) -> Void) throws(PathError)
}

/// The marks of a mark-all scope, by address family; nil leaves the family alone. The entropy bits of the
/// label are taken from each packet's own flow.
public struct ScopeMarks: Equatable, Sendable {
  public var ipv6: Mark?
  public var ipv4: Mark?
  /// The packets that have no mark of the scope's.
  public var exclusions: Exclusions

  public init(ipv6: Mark?, ipv4: Mark?, except exclusions: Exclusions = .none) {
    self.ipv6 = ipv6
    self.ipv4 = ipv4
    self.exclusions = exclusions
  }
}

/// The paths that exist, by the names that the command line uses.
public enum PathKind: String, Sendable, CaseIterable {
  case sock, tc, nft
  /// The packet thread between two ports, by AF_XDP or by packet sockets.
  case xdp, raw
}

/// Why the kernel refused one change.
public struct PathFailure: Error, Hashable, Sendable {
  public let path: PathKind
  /// errno.
  public let code: Int32

  public init(_ path: PathKind, code: Int32) {
    self.path = path
    self.code = code
  }
}

/// Why a path as a whole could not do something.
public struct PathError: Error, Sendable {
  public let path: PathKind
  /// What failed, on what, and what would help: one line for the operator.
  public let reason: String

  public init(_ path: PathKind, _ reason: String) {
    self.path = path
    self.reason = reason
  }
}

extension PathError: CustomStringConvertible {
  public var description: String { "\(path.rawValue): \(reason)" }
}
