import Firefly
import Flow
import Glibc
import Linux
import Logging
import ServiceLifecycle
import UnixSignals

/// Builds the parts and joins them: sources → inbox → table → paths, and table → announcements → fireflies.
struct Daemon {
  static let version = "0.1.0"
  /// Events or announcements that may wait before their producers do: half a megabyte each.
  private static let queueCapacity = 4096
  /// What waiting for signals needs: one for each.
  private static let spareDescriptors = 4

  private let pipes: PipeSource
  private let api: APIServer
  private let listener: FireflySource
  private let relay: Relay
  private let heard = HeardFireflies()
  private let naming: PublicNaming
  private let writer: TableWriter
  /// Nil where nobody wants to be told.
  private let manager: ServiceManager?
  private let announcer: Announcer
  /// Nil where the kernel cannot be asked for sockets.
  private let sockets: SocketWatch?
  private let vitals: Vitals
  private let applications = ApplicationNames(own: "marker v\(Daemon.version)")
  /// Nil where no file could be made for it.
  private let onlyOne: SingleDaemon?

  /// Attaches and opens all that was asked for.
  ///
  /// - Throws: what could not be had; then nothing stays behind.
  init(_ settings: Settings, manager: ServiceManager? = nil, log: Logger, output: LogOutput? = nil) throws {
    vitals = Vitals(log: output)
    self.manager = manager
    onlyOne = try Self.lock(log)
    Self.warn(ofUnseenProcesses: settings, log)
    let inbox = try BoundedQueue<FlowEvent>(capacity: Self.queueCapacity)
    let announcements = try BoundedQueue<Announcement>(capacity: Self.queueCapacity)

    let requests = try TableRequests()
    let reconfigurations = try ReconfigurationBox()
    pipes = try PipeSource(paths: settings.pipes, inbox: inbox, log: log)
    api = try APIServer(
      settings.api,
      APIRoutes(requests: requests, applications: applications, vitals: vitals, worker: APIWorker()), log: log
    )

    naming = PublicNaming(settings, log: log)
    let emitter = try Self.emitter(settings, applications, heard, naming.names, log)
    announcer = Announcer(announcements, emitter: emitter, log: log)
    relay = try Relay(emitter: emitter)
    listener = try FireflySource(
      settings.listen, inbox: inbox, relay: relay.queue, heard: heard, applications: applications, log: log)
    vitals.watch(Vitals.Parts(announcer: announcer, listener: listener, pipes: pipes))

    // Last, because marks would have to be taken back where something else fails.
    do {
      let network = try NetworkKeeper(settings.interfaces, log: log)
      let socketDesk = try Self.socketDesk(settings, log)
      var desk = try TableWriter.Desk(
        settings, network: network, sockets: socketDesk,
        inheritance: Inheritance(settings, applications, log: log), log: log)
      sockets = socketDesk?.watch
      TableWriter.follow(&desk, log: log)
      writer = TableWriter(
        desk, inbox: inbox, requests: requests, reconfigurations, announcements: announcements,
        manager: manager, log: log)
    } catch {
      api.close()
      throw error
    }
  }

  /// Takes over other settings while running: only what differs is touched.
  ///
  /// - Throws: what could not be had. Marking then goes on as it was.
  func reconfigure(_ new: Settings, from old: Settings, log: Logger) async throws {
    if new.rules != old.rules { Self.warn(ofUnseenProcesses: new, log) }
    // What can fail comes first, and of that what the least depends on.
    let emitter = new.announcesLike(old) ? nil : try Self.emitter(new, applications, heard, naming.names, log)
    let ears = new.listen == old.listen ? nil : try listener.open(new.listen)
    let opened = new.pipes == old.pipes ? nil : try pipes.open(new.pipes)
    let access = try APIAccess(new.api)
    let listeners = try api.open(new.api)
    do {
      try await writer.reconfigurations.put(new)
    } catch {
      api.abandon(listeners)
      throw error
    }
    api.use(new.api, listeners, access)
    if let opened { pipes.read(opened) }
    if let emitter {
      announcer.setEmitter(emitter)
      relay.setEmitter(emitter)
    }
    if let ears { listener.listen(ears) }
    naming.follow(new, from: old)
  }

  /// A rule that finds nothing would otherwise say nothing.
  private static func warn(ofUnseenProcesses settings: Settings, _ log: Logger) {
    guard settings.rules.contains(where: { !$0.processes.isEmpty }), !ProcessSockets.seesOthers else {
      return
    }
    log.warning(
      "rules with process find processes of the daemon's own user only: others' need CAP_SYS_PTRACE and a /proc that shows them; for the service there is /usr/share/doc/marker/examples/process-rules.conf"
    )
  }

  /// One that fails takes the others down in their order, and its error comes out at the end. Cancelling them would not
  /// reach their threads. It gets a name because the library would else describe the whole service to have one, which
  /// takes longer than all else here.
  private static func service(_ service: any Service) -> ServiceGroupConfiguration.ServiceConfiguration {
    ServiceGroupConfiguration.ServiceConfiguration(
      service: service, failureTerminationBehavior: .gracefullyShutdownGroup,
      serviceName: String(describing: type(of: service)))
  }

  /// - Throws: `AnotherDaemon` where one runs here already.
  private static func lock(_ log: Logger) throws -> SingleDaemon? {
    do { return try SingleDaemon() } catch let error as SystemError {
      log.notice(
        "a second daemon would not be noticed: no lock can be had", metadata: ["error": "\(error)"])
      return nil
    }
  }

  /// Flows can do without their sockets, where the kernel does not tell of them.
  private static func socketDesk(_ settings: Settings, _ log: Logger) throws(SystemError) -> SocketDesk? {
    let finding = SocketDiagnostics.finding()
    if finding.isYes { return try SocketDesk(settings, log: log) }
    log.warning("flows do not end with their sockets", metadata: ["reason": "\(finding)"])
    return nil
  }

  private static func emitter(
    _ settings: Settings, _ applications: ApplicationNames, _ heard: HeardFireflies,
    _ names: PublicAddresses, _ log: Logger
  ) throws(SystemError) -> Emitter {
    try Emitter(
      configuration: Emitter.Configuration(
        host: hostName, collectors: settings.collectors,
        remoteEnds: settings.announcesToRemoteEnds
          ? Emitter.Configuration.RemoteEnds(
            port: settings.remotePort, includesPrivate: settings.announcesToPrivate) : nil,
        enrichment: settings.enrichment, skOps: settings.skOps, publicAddresses: names,
        heard: settings.listen.isOn ? heard : nil, relays: settings.listen.isOn && settings.listen.relays),
      applications: applications, log: { event in log.notice("\(event)") })
  }

  /// Runs until SIGTERM or SIGINT: then the sources stop first, the table carries out what they said, and the last
  /// fireflies leave.
  ///
  /// - Parameter others: run while the daemon does.
  func run(beside others: [any Service], log: Logger) async throws {
    // The library that waits for signals says nothing where it lacks one, and then no signal ends the daemon.
    do throws(SystemError) { try EventCounter.requireSpare(Self.spareDescriptors) } catch {
      writer.abandon()
      throw error
    }
    var quiet = log
    quiet.logLevel = max(log.logLevel, .warning)
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [
          Self.service(announcer), Self.service(relay), Self.service(writer),
        ] + (sockets.map { [Self.service($0)] } ?? []) + [
          Self.service(pipes), Self.service(listener), Self.service(api),
        ] + others.map(Self.service) + [Self.service(Readiness(daemon: self, log: log))],
        gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
    try await group.run()
    naming.stop()
    log.info("stopped")
  }

  fileprivate func tellReady() { manager?.ready(status) }
  fileprivate func tellStopping() { manager?.stopping() }

  /// What the daemon does, on one line, as `systemctl status` shows it.
  var status: String { writer.status }

  private static var hostName: String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// Says that the daemon is ready, once the group has its signal handlers and runs its services.
private struct Readiness: Service {
  let daemon: Daemon
  let log: Logger

  func run() async throws {
    log.info("ready")
    daemon.tellReady()
    try await gracefulShutdown()
    daemon.tellStopping()
  }
}
