import Flow
import Linux

/// A marking path with what keeps it in place while interfaces come and go and others change the host's rules. Used by
/// the table's writer only.
protocol PathKeeper: AnyObject {
  var path: any MarkingPath { get }

  /// Readable when there is something to look at; nil for nothing to wait for.
  var descriptor: Int32? { get }

  /// How often `tend` wants to be called besides; nil for not at all. Milliseconds.
  var period: Int32? { get }

  /// Looks at what has happened and mends it.
  func tend(_ table: borrowing FlowTable)

  /// Whether packets that leave by an interface are marked, and what there is to say of it.
  func standing(on interface: Interface) -> PathStanding

  /// What happened to packets and rules besides marking, each with a name in snake case. Sums since the path opened.
  var tallies: [(event: String, count: UInt64)] { get }

  /// All paths were given a batch of changes, or a scope.
  func applied()

  /// Other interfaces are to be marked on than before.
  ///
  /// - Parameter gone: indexes of interfaces that went away meanwhile; another may have got the same since.
  func interfacesChanged(_ selected: [Interface], gone: Set<UInt32>)

  /// Marks all flows of a table, with what they have counted so far; for a path that follows another.
  func takeOver(_ table: borrowing FlowTable) throws(PathError)

  /// Whether marks stay when the daemon stops and the next one is to go on with them.
  var marksOutlive: Bool { get }

  /// Takes the marks away: the daemon stops, or others have taken over.
  func finish(successors: [any PathKeeper])

  /// Has the marks outlive the daemon, however it ends. Called once nothing else marks the same any more.
  func keepMarks()

  /// The daemon stops and leaves the marks to the next one.
  ///
  /// - Parameter seconds: they end after that, where the kernel can see to it.
  func leaveMarks(for seconds: Int)
}

/// How a path fares on one interface.
struct PathStanding: Sendable {
  let marks: Bool
  /// Empty where there is nothing to say.
  let words: String
}

extension PathKeeper {
  var tallies: [(event: String, count: UInt64)] { [] }
  func standing(on interface: Interface) -> PathStanding { PathStanding(marks: true, words: "") }
  func applied() {}
  var marksOutlive: Bool { true }
  func keepMarks() {}
  func leaveMarks(for seconds: Int) {}
}

extension [any PathKeeper] {
  /// Have changes carried into the kernel.
  func carry(_ changes: inout ChangeBatch) {
    for keeper in self {
      keeper.path.apply(&changes)
      for place in changes.changes.indices
      where changes.changes[place].usage != nil && changes.changes[place].counter == nil {
        changes.changes[place].counter = keeper.path.kind
      }
    }
    for keeper in self { keeper.applied() }
  }
}

/// Whether a path that marks only what another does not reach has something to mark. The other one says so.
final class ComplementNeed {
  var isNeeded = false
}
