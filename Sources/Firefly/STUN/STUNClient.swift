import CLinux
public import Flow
import Glibc
public import Linux
import Synchronization

/// Finds out by STUN servers (RFC 8489) by which addresses the world knows this host's, on a thread of its own. What
/// takes long or fails holds up nobody.
public final class STUNClient: Sendable {
  /// What it has to tell. Each is told once, not at each attempt.
  public enum Event: Equatable, Sendable {
    /// Flows that start from now on are named by another address, or by their own again.
    case named(Address, by: Address, server: String)
    case noAnswer(Address, reason: String)
  }

  /// What it takes from the host, and how patient it is. Tests bring their own.
  struct Environment: Sendable {
    var schedule = STUNQuery.Schedule()
    /// Milliseconds until an address that is known is asked for again.
    var refresh: Int64 = 300_000
    /// Milliseconds between attempts where no server answers, first and longest.
    var firstRetry: Int64 = 10_000
    var lastRetry: Int64 = 300_000
    /// Milliseconds between looks for addresses that this host has got.
    var look: Int64 = 5_000
    var addresses: @Sendable () throws(SystemError) -> [Address] = { () throws(SystemError) -> [Address] in
      try LocalAddress.all().filter(\.isGlobal).map(\.address)
    }
    var lookup: @Sendable (Collector) throws(LookupFailure) -> [SocketAddress] = {
      (place) throws(LookupFailure) in try NameLookup.addresses(of: place)
    }
  }

  /// Addresses that are asked for at a time; a host rarely has more.
  private static let limit = 64

  private let servers: [STUNServer]
  private let names: PublicAddresses
  private let fixed: Set<Address>
  private let environment: Environment
  private let log: @Sendable (Event) -> Void
  private let alarm: Alarm
  private let isStopped = Atomic(false)

  /// - Parameters:
  ///   - servers: asked in turn until one answers.
  ///   - names: where the answers go.
  ///   - fixed: local addresses that are not asked for.
  ///   - log: called from the client's thread.
  public convenience init(
    servers: [STUNServer], names: PublicAddresses, except fixed: Set<Address>,
    log: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    try self.init(servers, names, except: fixed, Environment(), log: log)
  }

  init(
    _ servers: [STUNServer], _ names: PublicAddresses, except fixed: Set<Address>, _ environment: Environment,
    log: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    self.servers = servers
    self.names = names
    self.fixed = fixed
    self.environment = environment
    self.log = log
    alarm = try Alarm()
  }

  /// Begins to ask.
  public func start() throws(SystemError) { try ResolverThread.start { self.run() } }

  /// Asks no more. What was found stays.
  public func stop() {
    isStopped.store(true, ordering: .relaxed)
    alarm.ring()
  }

  /// How an address fares.
  private struct Standing {
    var due: MonotonicTime
    var retry: Int64
    var isFailing = false
  }

  private func run() {
    var standings: [Address: Standing] = [:]
    /// The server that answered last comes first, so that a dead one costs its time once.
    var favourite: SocketAddress?
    while !isStopped.load(ordering: .relaxed) {
      var now = MonotonicTime.now()
      // Without the list nothing new is learnt; those that are known are asked for all the same.
      let present = (try? environment.addresses()).map(Set.init) ?? Set(standings.keys)
      standings = standings.filter { present.contains($0.key) }
      for address in present.subtracting(fixed) where standings[address] == nil {
        standings[address] = Standing(due: now, retry: environment.firstRetry)
      }
      let due = standings.filter { $0.value.due <= now }.map(\.key).prefix(Self.limit)
      if !due.isEmpty {
        var candidates = resolve()
        if let first = candidates.firstIndex(where: { $0 == favourite }) { candidates.swapAt(0, first) }
        ask(Array(due), candidates) { local, result in
          now = .now()
          if case .found(_, let server) = result { favourite = server }
          standings[local] = settle(local, result, standings[local], at: now)
        }
      }
      let next = standings.values.map(\.due).min() ?? .now().advanced(milliseconds: environment.look)
      let pause = min(max(next.microseconds(since: .now()) / 1000, 0) + 1, environment.look)
      alarm.sleep(milliseconds: Int32(clamping: pause))
    }
  }

  private func resolve() -> [SocketAddress] {
    var found: [SocketAddress] = []
    for server in servers {
      // A name without an address is passed over: another server may do.
      guard let addresses = try? environment.lookup(server.place) else { continue }
      for address in addresses where !found.contains(address) { found.append(address) }
    }
    return found
  }

  private func settle(
    _ local: Address, _ result: STUNQuery.Result, _ old: Standing?, at now: MonotonicTime
  ) -> Standing {
    switch result {
    case .found(let address, let server):
      if names.set(address == local ? nil : address, of: local) {
        log(.named(local, by: address, server: server.description))
      }
      return Standing(due: now.advanced(milliseconds: environment.refresh), retry: environment.firstRetry)
    case .failed(let reason):
      // What was found before goes on counting: it is rather the server that is away.
      let retry = old?.retry ?? environment.firstRetry
      if old?.isFailing != true { log(.noAnswer(local, reason: reason)) }
      return Standing(
        due: now.advanced(milliseconds: retry), retry: min(retry * 2, environment.lastRetry), isFailing: true)
    }
  }

  /// Asks for all of the addresses side by side.
  private func ask(
    _ addresses: [Address], _ servers: [SocketAddress], _ settle: (Address, STUNQuery.Result) -> Void
  ) {
    var room = QueryRoom(capacity: addresses.count)
    for address in addresses {
      room.append(STUNQuery(address, servers, environment.schedule, at: .now()))
    }
    room.run(until: { isStopped.load(ordering: .relaxed) }, wokenBy: alarm, settle)
  }
}

/// Queries under way.
private struct QueryRoom: ~Copyable {
  private let queries: UnsafeMutablePointer<STUNQuery>
  private var count = 0
  private let capacity: Int

  init(capacity: Int) {
    self.capacity = capacity
    queries = .allocate(capacity: capacity)
  }

  deinit {
    queries.deinitialize(count: count)
    queries.deallocate()
  }

  mutating func append(_ query: consuming STUNQuery) {
    precondition(count < capacity)
    (queries + count).initialize(to: query)
    count += 1
  }

  /// Runs them to their ends, or until it is to stop.
  mutating func run(
    until isStopped: () -> Bool, wokenBy alarm: borrowing Alarm,
    _ settle: (Address, STUNQuery.Result) -> Void
  ) {
    var isSettled = [Bool](repeating: false, count: count)
    var entries: [pollfd] = []
    while !isStopped() {
      let now = MonotonicTime.now()
      entries.removeAll(keepingCapacity: true)
      entries.append(pollfd(fd: alarm.descriptor, events: Int16(POLLIN), revents: 0))
      var next: MonotonicTime?
      for index in 0..<count {
        queries[index].proceed(at: now)
        if let result = queries[index].result {
          if !isSettled[index] { settle(queries[index].local, result) }
          isSettled[index] = true
        } else {
          next = min(next ?? queries[index].due, queries[index].due)
        }
        // poll passes over negative descriptors.
        entries.append(pollfd(fd: queries[index].descriptor ?? -1, events: Int16(POLLIN), revents: 0))
      }
      guard let next else { return }
      let pause = max(next.microseconds(since: now) / 1000, 0) + 1
      _ = poll(&entries, nfds_t(entries.count), Int32(clamping: pause))
      for index in 0..<count where entries[index + 1].revents != 0 { queries[index].receive(at: .now()) }
    }
  }
}

extension STUNClient.Event: CustomStringConvertible {
  public var description: String {
    switch self {
    case .named(let local, let name, let server) where local == name:
      "\(local) is known by itself outside, says \(server)"
    case .named(let local, let name, let server):
      "\(local) is known as \(name) outside, says \(server); flows that start from now on are announced by it"
    case .noAnswer(let local, let reason):
      "no STUN server tells by which address \(local) is known outside: \(reason); it is tried again"
    }
  }
}
