import Flow
import Glibc
import Linux
import Synchronization
import Testing

@testable import Firefly

/// The client against real sockets on loopback that answer, or do not.
struct STUNClientTests {
  /// Everything a hundred times as fast as in life.
  private static let quick = STUNQuery.Schedule(firstPause: 5, requests: 4, lastWait: 4)
  private static let loopback = Address(ipv4: 0x7f00_0001)

  /// A socket that requests come to.
  private final class Server: @unchecked Sendable {
    // Unchecked: what it has is not changed.
    let descriptor: Descriptor
    let address: SocketAddress

    init() throws {
      descriptor = try Descriptor("socket") { socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0) }
      let raw = descriptor.raw
      let any = SocketAddress(address: STUNClientTests.loopback, port: 0)
      try system("bind") { any.withName { bind(raw, $0, $1) } }
      var name = sockaddr_in6()
      var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      try system("getsockname") {
        withUnsafeMutablePointer(to: &name) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
        }
      }
      address = SocketAddress(address: STUNClientTests.loopback, port: UInt16(bigEndian: name.sin6_port))
    }

    /// The next request, and who sent it.
    func receive(milliseconds: Int32 = 2000) -> (request: [UInt8], from: sockaddr_in6)? {
      var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
      guard poll(&entry, 1, milliseconds) == 1 else { return nil }
      var bytes = [UInt8](repeating: 0, count: 100)
      var name = sockaddr_in6()
      var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      let count = withUnsafeMutablePointer(to: &name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          recvfrom(descriptor.raw, &bytes, bytes.count, 0, $0, &length)
        }
      }
      return count > 0 ? (Array(bytes[..<count]), name) : nil
    }

    func answer(_ datagram: [UInt8], to name: sockaddr_in6) {
      var name = name
      withUnsafePointer(to: &name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          _ = sendto(
            descriptor.raw, datagram, datagram.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
    }
  }

  /// Runs a query to its end; the servers answer as `reply` says.
  private func ask(
    _ servers: [Server], _ reply: (Int, STUNMessage.TransactionID) -> [[UInt8]]
  ) throws -> (result: STUNQuery.Result?, requests: [Int]) {
    var query = STUNQuery(Self.loopback, servers.map(\.address), Self.quick, at: .now())
    var requests = [Int](repeating: 0, count: servers.count)
    var rounds = 0
    while query.result == nil, rounds < 5000 {
      rounds += 1
      query.proceed(at: .now())
      for (index, server) in servers.enumerated() {
        while let (request, name) = server.receive(milliseconds: 0) {
          requests[index] += 1
          #expect(request.count == 20 && request.prefix(8) == [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42])
          let id = STUNMessage.TransactionID(bytes: Array(request[8...]))
          for datagram in reply(index, id) { server.answer(datagram, to: name) }
        }
      }
      query.receive(at: .now())
      usleep(500)
    }
    return (query.result, requests)
  }

  private func found(_ address: String, _ id: STUNMessage.TransactionID) throws -> [UInt8] {
    let ipv4 = try #require(Address(address)?.ipv4)
    let bytes = withUnsafeBytes(of: (ipv4 ^ STUNMessage.magicCookie).bigEndian) { Array($0) }
    return STUNMessageTests.response(id: id, [(0x0020, [0, 1, 0, 0] + bytes)])
  }

  @Test func theFirstServerAnswers() throws {
    let servers = try [Server(), Server()]
    let (result, requests) = try ask(servers) { _, id in [(try? found("198.51.100.7", id)) ?? []] }
    #expect(result == .found(try #require(Address("198.51.100.7")), by: servers[0].address))
    #expect(requests[0] >= 1 && requests[1] == 0)
  }

  @Test func oneThatIsSilentIsAskedAgainAndThenTheNext() throws {
    let servers = try [Server(), Server(), Server()]
    let (result, requests) = try ask(servers) { index, id in
      switch index {
      case 0: []
      case 1: [STUNMessageTests.response(type: 0x0111, id: id, [(0x0009, [0, 0, 5, 0])])]
      default: [(try? found("198.51.100.7", id)) ?? []]
      }
    }
    #expect(result == .found(try #require(Address("198.51.100.7")), by: servers[2].address))
    #expect(requests[0] == 4 && requests[1] >= 1 && requests[2] >= 1, "\(requests)")
  }

  @Test func theScheduleIsThatOfTheRFC() throws {
    let server = try Server()
    let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
    var query = STUNQuery(Self.loopback, [server.address], STUNQuery.Schedule(), at: start)
    var times: [Int64] = []
    while query.result == nil {
      let now = query.due
      query.proceed(at: now)
      times.append(now.microseconds(since: start) / 1000)
    }
    // RFC 8489 §6.2.1: with 500 ms seven requests, and failure at 39,500 ms.
    #expect(times == [0, 500, 1500, 3500, 7500, 15500, 31500, 39500])
    #expect(query.result == .failed("no answer from \(server.address)"))
  }

  /// What a forger sends who does not see the requests, and answers that no flow may be named by.
  @Test func answersThatDoNotCount() throws {
    let servers = try [Server(), Server(), Server(), Server()]
    let (result, _) = try ask(servers) { index, id in
      let forged = STUNMessage.TransactionID(bytes: id.bytes.map { $0 ^ 1 })
      switch index {
      case 0: return [(try? found("203.0.113.9", forged)) ?? [], [1, 2, 3], []]
      case 1: return [(try? found("10.0.0.1", id)) ?? []]
      case 2: return [(try? found("224.0.0.1", id)) ?? []]
      default:
        return [
          (try? found("203.0.113.9", forged)) ?? [], (try? found("198.51.100.7", id)) ?? [],
          (try? found("203.0.113.9", id)) ?? [],
        ]
      }
    }
    #expect(result == .found(try #require(Address("198.51.100.7")), by: servers[3].address))
  }

  @Test func whyThereIsNone() throws {
    let refusing: SocketAddress
    do {
      let server = try Server()
      refusing = server.address
    }
    var query = STUNQuery(Self.loopback, [refusing], Self.quick, at: .now())
    for _ in 0..<5000 where query.result == nil {
      query.proceed(at: .now())
      usleep(500)
      query.receive(at: .now())
    }
    guard case .failed(let reason)? = query.result else {
      Issue.record("\(String(describing: query.result))")
      return
    }
    #expect(reason.contains("Connection refused"), "\(reason)")
    let ipv6 = STUNQuery(Address(high: 0, low: 1), [refusing], Self.quick, at: .now())
    #expect(ipv6.result == .failed("no server has an address of this family"))
    // An address that is not this host's.
    let foreign = STUNQuery(try #require(Address("192.0.2.77")), [refusing], Self.quick, at: .now())
    guard case .failed(let reason)? = foreign.result else {
      Issue.record("\(String(describing: foreign.result))")
      return
    }
    #expect(reason.contains("192.0.2.77"), "\(reason)")
  }

  /// The thread: what is found, what changes, what fails, each told once.
  @Test func found() throws {
    let server = try Server()
    let answer = Mutex<String?>("198.51.100.7")
    let isOver = Atomic(false)
    let thread = Thread {
      while !isOver.load(ordering: .relaxed) {
        guard let (request, name) = server.receive(milliseconds: 20) else { continue }
        let id = STUNMessage.TransactionID(bytes: Array(request[8...]))
        if let address = answer.withLock({ $0 }), let datagram = try? self.found(address, id) {
          server.answer(datagram, to: name)
        }
      }
    }
    defer {
      isOver.store(true, ordering: .relaxed)
      thread.join()
    }
    let names = PublicAddresses()
    let events = Mutex<[STUNClient.Event]>([])
    let address = server.address
    let client = try STUNClient(
      [STUNServer("dead.test"), STUNServer("stun.test")], names, except: [],
      STUNClient.Environment(
        schedule: Self.quick, refresh: 10, firstRetry: 2, lastRetry: 10, look: 5,
        addresses: { () throws(SystemError) -> [Address] in [Self.loopback] },
        lookup: { (place) throws(LookupFailure) in
          if place.host == "dead.test" { throw LookupFailure(reason: "no such name") }
          return [address]
        })
    ) { event in
      events.withLock { $0.append(event) }
    }
    try client.start()
    func name() -> Address? { names.name(of: Self.loopback, at: WallClockTime(microseconds: .max)) }
    let (first, second) = (try #require(Address("198.51.100.7")), try #require(Address("198.51.100.8")))
    #expect(CollectorLinkTests.eventually { name() == first })
    answer.withLock { $0 = "198.51.100.8" }
    #expect(CollectorLinkTests.eventually { name() == second })
    answer.withLock { $0 = nil }
    #expect(CollectorLinkTests.eventually { events.withLock { $0.count } == 3 })
    usleep(50_000)
    #expect(name() == second, "what was found counts while no server answers")
    // By itself: it is not behind NAT any more.
    answer.withLock { $0 = "127.0.0.1" }
    #expect(CollectorLinkTests.eventually { name() == nil })
    client.stop()
    let text = "\(address)"
    #expect(
      events.withLock { $0 } == [
        .named(Self.loopback, by: first, server: text), .named(Self.loopback, by: second, server: text),
        .noAnswer(Self.loopback, reason: "no answer from \(text)"),
        .named(Self.loopback, by: Self.loopback, server: text),
      ])
  }
}

/// A thread that is waited for.
private final class Thread {
  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
  private var thread = pthread_t()

  init(_ run: @escaping @Sendable () -> Void) {
    pthread_create(
      &thread, nil,
      { context in
        if let context { Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run() }
        return nil
      }, Unmanaged.passRetained(Body(run)).toOpaque())
  }

  func join() { pthread_join(thread, nil) }
}
