import Flow
import Glibc
import Linux
import Logging

/// Tells systemd of the daemon's life (sd_notify(3), `Type=notify`). Without a manager that listens there is none.
final class ServiceManager: Sendable {
  private let socket: NotificationSocket
  private let log: Logger
  /// How often a sign of life is due; nil where the manager does not wait for any.
  let beatPeriod: Duration?

  /// A third of the time after which the manager would end the daemon: two signs may be lost.
  private static let beatsInTime = 3

  /// - Parameters:
  ///   - socket: $NOTIFY_SOCKET.
  ///   - watchdogTime: $WATCHDOG_USEC, microseconds; nil for no watchdog.
  init(socket: String, watchdogTime: Int64?, log: Logger) throws(SystemError) {
    self.socket = try NotificationSocket(socket)
    self.log = log
    beatPeriod = watchdogTime.map { .microseconds(max($0 / Int64(Self.beatsInTime), 1000)) }
  }

  /// The one that started this process, if one did that wants to be told.
  static func current(log: Logger) -> ServiceManager? {
    guard let name = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }), !name.isEmpty else { return nil }
    do throws(SystemError) {
      return try ServiceManager(
        socket: name, watchdogTime: watchdogTime { variable in getenv(variable).map { String(cString: $0) } },
        log: log)
    } catch {
      log.warning(
        "the service manager cannot be told that the daemon is ready", metadata: ["error": "\(error)"])
      return nil
    }
  }

  /// What the environment says of the watchdog (sd_watchdog_enabled(3)): it may be meant for another process.
  static func watchdogTime(_ variable: (String) -> String?) -> Int64? {
    if let process = variable("WATCHDOG_PID"), process != "\(getpid())" { return nil }
    guard let time = variable("WATCHDOG_USEC").flatMap({ Int64($0) }), time > 0 else { return nil }
    return time
  }

  /// Marks are in place, and flows are taken.
  func ready(_ status: String) { tell("READY=1\nSTATUS=\(Self.line(status))") }

  /// The configuration is read again until `ready` is told.
  func reloading() {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    tell("RELOADING=1\nMONOTONIC_USEC=\(Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)")
  }

  func stopping() { tell("STOPPING=1\nSTATUS=stopping") }

  /// A sign of life. One that is lost is followed by others.
  func beat() { tell("WATCHDOG=1") }

  private func tell(_ text: String) {
    do throws(SystemError) { try socket.send(text) } catch {
      log.warning(
        "the service manager was not told", metadata: ["message": "\(Self.line(text))", "error": "\(error)"])
    }
  }

  private static func line(_ text: String) -> String { text.replacing("\n", with: "; ") }
}

/// The table writer's signs of life: given only by a thread that comes round.
struct Heartbeat {
  private let manager: ServiceManager?
  private let period: Int64
  /// When the next is due; nil for never.
  private(set) var next: MonotonicTime?

  init(_ manager: ServiceManager?, at now: MonotonicTime) {
    self.manager = manager
    let period = manager?.beatPeriod.map {
      $0.components.seconds * 1000 + $0.components.attoseconds / 1_000_000_000_000_000
    }
    self.period = period ?? 0
    next = period == nil ? nil : now
  }

  mutating func beat(at now: MonotonicTime) {
    guard let due = next, now >= due else { return }
    manager?.beat()
    next = now.advanced(milliseconds: period)
  }
}
