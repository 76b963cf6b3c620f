import Flow
import Glibc
import Linux
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Serves the API on TCP and unix sockets.
final class APIServer: Service {
  /// Connections at a time; further ones are closed at once.
  private static let connectionLimit = 512
  /// A client that says nothing for so long is let go. Seconds.
  private static let patience: Int64 = 120

  /// What an event loop of swift-nio opens: an epoll, an eventfd and a timer.
  private static let loopDescriptors = 3

  private let group: MultiThreadedEventLoopGroup
  private let routes: APIRoutes
  private let listeners = Mutex<[APIAddress: any Channel]>([:])
  private let access: Mutex<Doors>
  private let connections = Atomic<Int>(0)
  private let log: Logger

  /// Who may at which addresses.
  private struct Doors {
    let access: APIAccess
    let metrics: APIAccess
    let metricsAddresses: [APIAddress]

    init(_ access: APIAccess, _ settings: APISettings) {
      self.access = access
      metrics = access.forMetrics(settings)
      metricsAddresses = settings.metricsAddresses
    }
  }

  /// Opens the addresses.
  ///
  /// - Throws: `APIError` for one that was asked for and cannot be had; `SystemError` where there are no descriptors for
  ///   an event loop.
  init(_ settings: APISettings, _ routes: APIRoutes, log: Logger) throws {
    // The library ends the process where it lacks one.
    try EventCounter.requireSpare(Self.loopDescriptors)
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    self.routes = routes
    self.log = log
    access = Mutex(Doors(try APIAccess(settings), settings))
    let opened = try open(settings)
    use(settings, opened, try APIAccess(settings))
  }

  /// Opens those of the addresses that are not served yet.
  func open(_ settings: APISettings) throws -> [APIAddress: any Channel] {
    var opened: [APIAddress: any Channel] = [:]
    let all = settings.addresses + settings.metricsAddresses
    for address in all where listeners.withLock({ $0[address] == nil }) && opened[address] == nil {
      do throws(APIError) { opened[address] = try bind(address) } catch {
        // Nobody asked for it: marking is what matters.
        guard settings.listen != nil || settings.metricsAddresses.contains(address) else {
          log.warning("\(error)")
          continue
        }
        abandon(opened)
        throw error
      }
    }
    return opened
  }

  /// Serves these addresses from now on, and no others.
  func use(_ settings: APISettings, _ opened: [APIAddress: any Channel], _ access: APIAccess) {
    self.access.withLock { $0 = Doors(access, settings) }
    let wanted = settings.addresses + settings.metricsAddresses
    let gone = listeners.withLock { listeners in
      let gone = listeners.filter { !wanted.contains($0.key) }
      listeners = listeners.filter { wanted.contains($0.key) }.merging(opened) { $1 }
      return gone
    }
    for (address, channel) in gone { close(address, channel) }
    for address in opened.keys.sorted(by: { $0.description < $1.description }) {
      let isMetrics = settings.metricsAddresses.contains(address)
      log.info(isMetrics ? "serving metrics" : "serving the API", metadata: ["address": "\(address)"])
    }
  }

  /// Gives up addresses that were opened and are not to be served after all.
  func abandon(_ opened: [APIAddress: any Channel]) {
    for (address, channel) in opened { close(address, channel) }
  }

  func run() async throws {
    try await gracefulShutdown()
    close()
    routes.worker.stop()
    try await group.shutdownGracefully()
  }

  /// Serves nothing any more.
  func close() {
    let all = listeners.withLock { listeners in
      defer { listeners = [:] }
      return listeners
    }
    for (address, channel) in all { close(address, channel) }
  }

  private func close(_ address: APIAddress, _ channel: any Channel) {
    channel.close(promise: nil)
    if case .unix(let path) = address { unlink(path) }
  }

  private func bind(_ address: APIAddress) throws(APIError) -> any Channel {
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { [self] channel in
        channel.eventLoop.makeCompletedFuture { try self.accept(channel, at: address) }
      }
      .childChannelOption(.maxMessagesPerRead, value: 16)
    do {
      switch address {
      case .tcp(let end):
        return try bootstrap.bind(to: SocketAddress(ipAddress: "\(end.address)", port: Int(end.port))).wait()
      case .unix(let path):
        try UnixSocketFile.prepare(path)
        let channel = try bootstrap.bind(unixDomainSocketPath: path).wait()
        // The daemon's user and group; what else is wanted is the administrator's to say, by the folder.
        chmod(path, 0o660)
        return channel
      }
    } catch {
      throw APIError(address: "\(address)", reason: APIError.explain(error))
    }
  }

  private func accept(_ channel: any Channel, at address: APIAddress) throws {
    guard connections.add(1, ordering: .relaxed).newValue <= Self.connectionLimit else {
      connections.subtract(1, ordering: .relaxed)
      throw ChannelError.operationUnsupported
    }
    channel.closeFuture.whenComplete { _ in self.connections.subtract(1, ordering: .relaxed) }
    let client = APIAccess.Client(channel.remoteAddress ?? channel.localAddress)
    let pipeline = channel.pipeline.syncOperations
    try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
    try pipeline.addHandler(IdleStateHandler(allTimeout: .seconds(Self.patience)))
    var routes = routes
    let access = access.withLock { doors in
      routes.servesMetricsOnly = doors.metricsAddresses.contains(address)
      return routes.servesMetricsOnly ? doors.metrics : doors.access
    }
    try pipeline.addHandler(APIHandler(routes, access, client))
  }
}

/// The file of a unix socket.
enum UnixSocketFile {
  /// Makes room for a socket: its folder, and no file that a daemon before has left.
  static func prepare(_ path: String) throws(SystemError) {
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      let folder = String(path[..<slash])
      if mkdir(folder, 0o755) != 0, errno != EEXIST { throw SystemError("mkdir", folder) }
    }
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw SystemError("not a socket, and left alone: remove it", path, code: EEXIST)
    }
    guard !(try isServed(path)) else { throw SystemError("another daemon serves it", path, code: EADDRINUSE) }
    try system("unlink", path) { unlink(path) }
  }

  private static func isServed(_ path: String) throws(SystemError) -> Bool {
    let probe = try Descriptor("socket", "AF_UNIX") {
      socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw SystemError("bind", path, code: ENAMETOOLONG)
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(probe.raw, $0, size) }
    } == 0
  }
}

/// Why the API cannot be served.
struct APIError: Error, CustomStringConvertible {
  let address: String
  let reason: String
  /// Whether it is the daemon that has the problem, not who asks it.
  var isServing = true

  var description: String { "\(isServing ? "cannot serve the API on" : "cannot ask") \(address): \(reason)" }

  static func explain(_ error: any Error) -> String {
    guard let code = (error as? IOError)?.errnoCode else { return "\(error)" }
    let help =
      code == EADDRINUSE ? "; another daemon, flowd-go perhaps, has it: stop that or set api.listen" : ""
    return "\(String(cString: strerror(code)))\(help)"
  }
}
