public import Flow
import Linux
import Synchronization

/// By which addresses the world knows this host's, where NAT stands between. Fireflies name flows by them; packets and
/// marks have the host's own.
///
/// Safe to use from any thread.
public final class PublicAddresses: Sendable {
  private let state = Mutex(PublicAddressTable())

  public init() {}

  /// What is known now.
  var table: PublicAddressTable { state.withLock { $0 } }

  /// Names a local address by another for all flows that start from now on.
  ///
  /// - Parameters:
  ///   - name: nil to name it by itself.
  ///   - start: flows that started then or later have the name; nil for now.
  /// - Returns: whether that is new.
  @discardableResult
  public func set(_ name: Address?, of local: Address, since start: WallClockTime? = nil) -> Bool {
    state.withLock { state in
      // A flow that has begun may be under way to its first firefly by what was known until now.
      let now = WallClockTime(microseconds: WallClockTime.now().microseconds + 1)
      return state.set(name, of: local, since: start ?? now)
    }
  }

  /// The local addresses that have another name now.
  public var named: Set<Address> { state.withLock { $0.named } }

  /// What a flow that starts then is named by.
  public func name(of local: Address, at time: WallClockTime) -> Address? {
    state.withLock { $0.name(of: local, at: time) }
  }
}

/// The names of local addresses, and since when.
///
/// A collector recognises a flow by its addresses, so a flow keeps its name to its end. It does so without being
/// remembered: its name is the one that was in force at its start, whatever came later. Flows that started before there
/// was an answer of a STUN server are announced by their own address all along.
struct PublicAddressTable: Sendable {
  private struct Name: Sendable {
    let address: Address?
    let since: WallClockTime
  }

  /// Names of one address that are remembered. A public address that changes daily changes so often in three weeks.
  private static let limit = 32

  private var names: [Address: [Name]] = [:]

  mutating func set(_ name: Address?, of local: Address, since start: WallClockTime) -> Bool {
    var list = names[local] ?? []
    guard list.last?.address != name else { return false }
    // A clock that was set back must not give flows another name that have one.
    let since = max(start, list.last?.since ?? start)
    list.append(Name(address: name, since: since))
    if list.count > Self.limit { list.removeFirst() }
    names[local] = list
    return true
  }

  var named: Set<Address> { Set(names.filter { $0.value.last?.address != nil }.keys) }

  func name(of local: Address, at time: WallClockTime) -> Address? {
    names[local]?.last { $0.since <= time }?.address
  }

  /// The flow as fireflies name it; nil where that is by its own addresses. A flow to a private address does not pass
  /// the NAT.
  func publicForm(of announcement: Announcement) -> AnnouncedFlow? {
    guard !names.isEmpty else { return nil }
    let key = announcement.key
    guard !key.remote.address.isPrivate, let name = name(of: key.local.address, at: announcement.start) else {
      return nil
    }
    return AnnouncedFlow(
      FlowKey(local: Endpoint(name, key.local.port), remote: key.remote, transport: key.transport),
      announcement.orientation)
  }
}
