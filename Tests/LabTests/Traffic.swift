import Flow
import Glibc
import Lab
import Linux

/// A TCP connection or a pair of UDP sockets between the two ends of a veth pair.
struct Conversation {
  let near: LabSocket
  let far: LabSocket
  let key: FlowKey

  static func tcp(_ pair: any TwoEnds, ipv4: Bool = false, port: UInt16 = 0) throws -> Conversation {
    let listener = try LabSocket(.tcp, in: pair.far, bound: try far(ipv4, 0))
    try listener.listen()
    let near = try LabSocket(.tcp, in: pair.near, bound: try Self.near(ipv4, port))
    try near.connect(to: listener.local)
    return Conversation(
      near: near, far: try listener.accept(),
      key: FlowKey(local: near.local, remote: listener.local, transport: .tcp))
  }

  static func udp(_ pair: any TwoEnds, ipv4: Bool = false) throws -> Conversation {
    let far = try LabSocket(.udp, in: pair.far, bound: try far(ipv4, 0))
    let near = try LabSocket(.udp, in: pair.near, bound: try Self.near(ipv4, 0))
    try near.connect(to: far.local)
    return Conversation(
      near: near, far: far, key: FlowKey(local: near.local, remote: far.local, transport: .udp))
  }

  /// Sends so many bytes from near to far, which reads them all.
  func transfer(_ count: Int) throws {
    let chunk = [UInt8](repeating: 0x5a, count: 60_000)
    var sent = 0
    var received = 0
    while received < count {
      if sent < count {
        try near.send(chunk)
        sent += chunk.count
      }
      while let bytes = try far.receive(within: sent < count ? 0 : 1000) {
        received += bytes.count
        if received >= sent { break }
      }
    }
  }

  /// Sends so many bytes from near to far over a path that is not as quick as a call: far reads in a thread of its own.
  func pour(_ count: Int) throws {
    let done = try EventCounter()
    let chunk = [UInt8](repeating: 0x5a, count: 60_000)
    let chunks = (count + chunk.count - 1) / chunk.count
    let (socket, wanted) = (far.descriptor.raw, chunks * chunk.count)
    let finished = ReadingEnd(done)
    startThread {
      var buffer = [UInt8](repeating: 0, count: 1 << 18)
      var received = 0
      while received < wanted {
        let count = recv(socket, &buffer, buffer.count, 0)
        guard count > 0 else { break }
        received += count
      }
      if received == wanted { finished.done.signal() }
    }
    for _ in 0..<chunks { try near.send(chunk) }
    guard finished.done.wait(milliseconds: 60_000) else {
      throw SystemError("not all \(wanted) bytes arrived", code: ETIMEDOUT)
    }
  }

  private static func near(_ ipv4: Bool, _ port: UInt16) throws -> Endpoint {
    Endpoint(try address(ipv4 ? VethPair.near4 : VethPair.near6), port)
  }
  private static func far(_ ipv4: Bool, _ port: UInt16) throws -> Endpoint {
    Endpoint(try address(ipv4 ? VethPair.far4 : VethPair.far6), port)
  }
  static func address(_ text: String) throws -> Address {
    guard let address = Address(text) else { throw SystemError("not an address: \(text)", code: EINVAL) }
    return address
  }
}

/// Signalled once a reader has all it waits for.
private final class ReadingEnd: Sendable {
  let done: EventCounter
  init(_ done: consuming EventCounter) { self.done = done }
}

extension [Frame] {
  /// The packets of a flow in the direction in which it leaves.
  func of(_ key: FlowKey) -> [Frame] {
    filter {
      $0.transport == key.transport.rawValue && $0.source == key.local.address
        && $0.sourcePort == key.local.port
        && $0.destination == key.remote.address && $0.destinationPort == key.remote.port
    }
  }
}
