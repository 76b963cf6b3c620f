/// Which sockets of this host are tagged flows, and with which tag. All conditions have to hold; one that is empty or nil
/// always does.
public struct SocketRule: Hashable, Sendable {
  public enum Verdict: Hashable, Sendable {
    /// One of these, chosen by the connection's ports; never empty.
    case tag([SciTag])
    /// No flow, whatever later rules say.
    case exclude
  }

  public var verdict: Verdict
  /// On whose behalf the flows are entered: `socketWatch`, or `perfSONAR` for those of the mark-all tag.
  public var origin: Origin
  public var localPorts: [PortRange]
  public var remotePorts: [PortRange]
  /// Where the remote address is.
  public var networks: [Network]
  /// Who made the socket.
  public var users: [User]
  /// The control group that the socket was made in, or one above it: a path below the cgroup2 mount, "/" being its root.
  public var group: String?
  /// Names of processes that have the socket, as the kernel has them (proc(5), comm).
  public var processes: [String]
  public var transports: [TransportProtocol]

  /// The transports that rules are for: SCTP's sockets are not looked at.
  public static let allTransports: [TransportProtocol] = [.tcp, .udp]
  /// The longest name of a process in bytes, TASK_COMM_LEN without its end (linux/sched.h).
  public static let longestProcessName = 15

  public init(
    _ verdict: Verdict, origin: Origin = .socketWatch, localPorts: [PortRange] = [],
    remotePorts: [PortRange] = [], networks: [Network] = [], users: [User] = [],
    group: String? = nil,
    processes: [String] = [], transports: [TransportProtocol] = Self.allTransports
  ) {
    self.verdict = verdict
    self.origin = origin
    self.localPorts = localPorts
    self.remotePorts = remotePorts
    self.networks = networks
    self.users = users
    self.group = group
    self.processes = processes
    self.transports = transports
  }

  /// A user, by number; the name is kept for whoever reads the rule.
  public struct User: Hashable, Sendable {
    public let number: UInt32
    public let name: String?

    public init(_ number: UInt32, name: String? = nil) {
      self.number = number
      self.name = name
    }
  }

  /// Whether addresses, ports and protocol are all that it asks for.
  public var needsOnlyKey: Bool { users.isEmpty && group == nil && processes.isEmpty }

  /// Whether it has no condition.
  public var fitsEverything: Bool {
    needsOnlyKey && localPorts.isEmpty && remotePorts.isEmpty && networks.isEmpty
      && transports.count == Self.allTransports.count
  }

  /// Whether the conditions hold that a flow's key tells of.
  public func fits(_ key: FlowKey) -> Bool {
    transports.contains(key.transport)
      && (localPorts.isEmpty || localPorts.contains { $0.contains(key.local.port) })
      && (remotePorts.isEmpty || remotePorts.contains { $0.contains(key.remote.port) })
      && (networks.isEmpty || networks.contains { $0.contains(key.remote.address) })
  }

  /// Whether the other conditions hold; nil where one is not known and none fails.
  func fits<Facts: SocketFacts>(_ facts: Facts) -> Bool? {
    let isOwned = users.isEmpty ? true : facts.isOwned(by: users)
    if isOwned == false { return false }
    let isInGroup = group.map { facts.isInGroup($0) } ?? true
    if isInGroup == false { return false }
    // What costs most is asked last.
    let isHeld = processes.isEmpty ? true : facts.isHeld(by: processes)
    if isHeld == false { return false }
    return isOwned == nil || isInGroup == nil || isHeld == nil ? nil : true
  }
}

/// What is known of a socket besides its addresses. Nil is "not known", or not yet: a connection that its process did
/// not accept yet belongs to nobody.
public protocol SocketFacts {
  func isOwned(by users: [SocketRule.User]) -> Bool?
  func isInGroup(_ path: String) -> Bool?
  func isHeld(by processes: [String]) -> Bool?
}

/// Of a socket that only its addresses are known of.
public struct NoSocketFacts: SocketFacts {
  public init() {}
  public func isOwned(by users: [SocketRule.User]) -> Bool? { nil }
  public func isInGroup(_ path: String) -> Bool? { nil }
  public func isHeld(by processes: [String]) -> Bool? { nil }
}

/// What rules say of a socket.
public enum RuleAnswer: Equatable, Sendable {
  /// It is no tagged flow.
  case none
  /// One of these tags, on behalf of this origin.
  case tags([SciTag], Origin)
  /// More has to be known.
  case undecided
}

extension [SocketRule] {
  /// The first rule that fits decides.
  public func answer<Facts: SocketFacts>(_ key: FlowKey, _ facts: Facts) -> RuleAnswer {
    for rule in self where rule.fits(key) {
      switch rule.needsOnlyKey ? true : rule.fits(facts) {
      case false: continue
      case nil: return .undecided
      case true:
        switch rule.verdict {
        case .tag(let tags): return .tags(tags, rule.origin)
        case .exclude: return .none
        }
      }
    }
    return .none
  }

  /// By the key alone.
  public func answer(_ key: FlowKey) -> RuleAnswer { answer(key, NoSocketFacts()) }
}
