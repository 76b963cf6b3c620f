import Firefly
import Flow
import Linux
import Logging
import Synchronization

/// Keeps what fireflies name this host's addresses by as the settings say. Nothing of it ever fails the start: flows
/// are marked and announced without.
final class PublicNaming: Sendable {
  private struct State {
    var fixed: [Address: Address] = [:]
    var client: STUNClient?
  }

  let names = PublicAddresses()
  private let state = Mutex(State())
  private let log: Logger

  /// Flows that are there from the start have the names that are given by hand.
  init(_ settings: Settings, log: Logger) {
    self.log = log
    for (local, name) in settings.publicAddresses {
      names.set(name, of: local, since: WallClockTime(microseconds: 0))
    }
    state.withLock { $0.fixed = settings.publicAddresses }
    ask(settings)
  }

  /// Names flows that start from now on as other settings say.
  func follow(_ settings: Settings, from old: Settings) {
    guard settings.publicAddresses != old.publicAddresses || settings.stunServers != old.stunServers else {
      return
    }
    state.withLock { state in
      state.client?.stop()
      state.client = nil
      let found = settings.stunServers.isEmpty ? names.named : []
      for local in Set(state.fixed.keys).union(found) where settings.publicAddresses[local] == nil {
        names.set(nil, of: local)
      }
      for (local, name) in settings.publicAddresses { names.set(name, of: local) }
      state.fixed = settings.publicAddresses
    }
    ask(settings)
  }

  func stop() { state.withLock { $0.client?.stop() } }

  private func ask(_ settings: Settings) {
    guard !settings.stunServers.isEmpty else { return }
    do throws(SystemError) {
      let client = try STUNClient(
        servers: settings.stunServers, names: names, except: Set(settings.publicAddresses.keys)
      ) { [log] event in
        log.notice("\(event)")
      }
      try client.start()
      state.withLock { $0.client = client }
    } catch {
      log.warning("STUN servers are not asked", metadata: ["error": "\(error)"])
    }
  }
}
