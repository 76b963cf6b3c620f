import Flow
import Glibc
import Lab
import Linux

/// Idle TCP connections across a pair, held by processes of their own: one may not have so many descriptors.
final class Connections {
  let keys: [FlowKey]
  private var holders: [pid_t] = []

  private static let near = Address(high: 0x2001_0db8 << 32, low: 1)
  private static let far = Address(high: 0x2001_0db8 << 32, low: 2)
  private static let perProcess = 12_500

  init(_ pair: VethPair, _ count: Int) throws(SystemError) {
    var keys: [FlowKey] = []
    for (group, first) in stride(from: 0, to: count, by: Self.perProcess).enumerated() {
      let size = min(Self.perProcess, count - first)
      let port = UInt16(1100 + group)
      holders.append(try Self.hold(pair.far, "accept \(port) \(size)"))
      holders.append(try Self.hold(pair.near, "connect \(port) \(size) \(2000 + first)"))
      keys += (first..<first + size).map {
        FlowKey(
          local: Endpoint(Self.near, UInt16(2000 + $0)), remote: Endpoint(Self.far, port), transport: .tcp)
      }
    }
    self.keys = keys
    for _ in 0..<600 {
      usleep(100_000)
      var established = 0
      try pair.near.run { () throws(SystemError) in
        try SocketDump().forEach(.tcp, in: .established) { _ in established += 1 }
      }
      if established == count { return }
    }
    throw SystemError("connections", "they are not there", code: ETIMEDOUT)
  }

  deinit {
    for holder in holders {
      kill(holder, SIGKILL)
      waitpid(holder, nil, 0)
    }
  }

  private static func hold(_ namespace: NetworkNamespace, _ arguments: String) throws(SystemError) -> pid_t {
    try namespace.run { () throws(SystemError) in
      try startShell("exec /proc/\(getpid())/exe hold \(arguments)")
    }
  }
}

/// What such a process does: `accept PORT COUNT`, or `connect PORT COUNT FIRST-LOCAL-PORT`. It ends when it is killed.
func holdConnections(_ arguments: [String]) -> Never {
  if arguments.first == "serve" || arguments.first == "open" { churnConnections(arguments) }
  let numbers = arguments.dropFirst().compactMap { Int($0) }
  guard numbers.count >= 2 else { exit(64) }
  func fail(_ what: String) -> Never {
    complain("\(what): \(String(cString: strerror(errno)))")
    exit(1)
  }
  func call(
    _ what: String, _ address: Int, _ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) {
    var name = sockaddr_in6()
    name.sin6_family = sa_family_t(AF_INET6)
    name.sin6_port = UInt16(port).bigEndian
    // 2001:db8::1 or ::2.
    withUnsafeMutableBytes(of: &name.sin6_addr) {
      $0.copyBytes(from: [0x20, 0x01, 0x0d, 0xb8] + Array(repeating: 0, count: 11) + [UInt8(address)])
    }
    let result = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    }
    if result != 0 { fail(what) }
  }
  func open() -> Int32 {
    let made = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    if made < 0 { fail("socket") }
    return made
  }
  if arguments.first == "accept" {
    let listener = open()
    call("bind", 2, numbers[0]) { bind(listener, $0, $1) }
    if listen(listener, 4096) != 0 { fail("listen") }
    for _ in 0..<numbers[1] where accept(listener, nil, nil) < 0 { fail("accept") }
  } else {
    // Until the other has its listener.
    usleep(500_000)
    for number in 0..<numbers[1] {
      let made = open()
      call("bind", 1, numbers[2] + number) { bind(made, $0, $1) }
      call("connect", 2, numbers[0]) { connect(made, $0, $1) }
    }
  }
  while true { pause() }
}
