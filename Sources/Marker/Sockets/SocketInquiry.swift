import Flow
import Linux
import XDP

/// What rules ask of a socket beyond its addresses: its user, its control group, the processes that have it. One round of
/// questions uses one of these, so that /proc is looked through once for all of them.
struct SocketInquiry {
  private let wanted: Set<String>
  private var processes: ProcessSockets?

  init(_ rules: [SocketRule]) {
    wanted = Set(rules.flatMap(\.processes))
  }

  /// What the rules say of a socket.
  mutating func answer(
    _ rules: [SocketRule], _ socket: borrowing SocketDescription, _ groups: inout GroupMemberships
  ) -> RuleAnswer {
    let key = socket.key
    let byKey = rules.answer(key)
    guard byKey == .undecided else { return byKey }
    if processes == nil, !wanted.isEmpty,
      rules.contains(where: { !$0.processes.isEmpty && $0.fits(key) })
    {
      processes = ProcessSockets(of: wanted)
    }
    // A connection that its process has not accepted yet has no number and nobody's user.
    let isOwned = socket.inode != 0
    let facts = KnownFacts(
      user: isOwned ? socket.uid : nil,
      groups: socket.cgroup.map { groups.paths(of: $0, rules.compactMap(\.group)) },
      processes: isOwned ? processes?[socket.inode] : nil)
    return rules.answer(key, facts)
  }
}

/// Of one socket.
private struct KnownFacts: SocketFacts {
  let user: UInt32?
  /// Those of the rules' control groups that it is in.
  let groups: Set<String>?
  /// Those of the rules' names that its processes have.
  let processes: Set<String>?

  func isOwned(by users: [SocketRule.User]) -> Bool? {
    user.map { number in users.contains { $0.number == number } }
  }
  func isInGroup(_ path: String) -> Bool? { groups?.contains(path) }
  func isHeld(by names: [String]) -> Bool? { processes.map { !$0.isDisjoint(with: names) } }
}

/// Which control groups are in those that rules name. A group's number is never another's while the host is up, so what
/// was found once stays true.
struct GroupMemberships {
  private let mount: String?
  private var known: [UInt64: Set<String>] = [:]
  /// Groups of services come and go with them.
  private static let most = 4096

  /// - Parameter mount: where cgroup2 is mounted; nil for nowhere.
  init(mount: String?) { self.mount = mount }

  /// By what is mounted now.
  static func current() -> GroupMemberships {
    GroupMemberships(mount: (try? ControlGroup.mountPoint()) ?? nil)
  }

  /// Those of the paths that a group is or is below.
  mutating func paths(of group: UInt64, _ paths: [String]) -> Set<String> {
    guard let mount else { return [] }
    if let found = known[group] { return found }
    if known.count >= Self.most { known.removeAll() }
    var found: Set<String> = []
    for path in Set(paths)
    where ControlGroup.numbers(below: path == "/" ? mount : mount + path).contains(group) {
      found.insert(path)
    }
    known[group] = found
    return found
  }
}

extension [SciTag] {
  /// The tag of a flow, the same wherever it is asked for. There is at least one.
  func chosen(for key: FlowKey) -> SciTag { self[TagChoice.place(of: key, among: count)] }
}
