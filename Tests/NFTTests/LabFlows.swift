import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import NFT

/// A veth pair with the path's table in the near namespace.
struct PathLab {
  let pair: VethPair
  let path: NFTPath

  init(offloads: Bool = false, interfaces: [String]? = nil, flowLimit: UInt32 = 0) throws {
    pair = try VethPair(offloads: offloads)
    path = try pair.near.run { () throws(PathError) -> Boxed<NFTPath> in
      Boxed(try NFTPath(interfaces: interfaces, flowLimit: flowLimit, seed: 7))
    }.value
  }

  func list() throws -> String { try pair.near.shell("nft list table inet marker") }

  /// Applies changes, and gives them back as the path left them.
  @discardableResult
  func apply(_ changes: [ChangeBatch.Change]) -> [ChangeBatch.Change] {
    var batch = ChangeBatch()
    batch.changes += changes
    path.apply(&batch)
    return Array(batch.changes)
  }

  /// Applies changes that must all succeed.
  func mustApply(_ changes: [ChangeBatch.Change], _ place: SourceLocation = #_sourceLocation) {
    for change in apply(changes) { #expect(change.failure == nil, sourceLocation: place) }
  }

  func mark(_ key: FlowKey, _ mark: Mark, _ place: SourceLocation = #_sourceLocation) {
    mustApply([.init(.mark, key, mark)], place)
  }

  /// Sends one datagram of the flow's and gives its frames at the far end.
  func datagram(_ key: FlowKey, trafficClass: Int32 = 0, size: Int = 100, packetMark: Int32 = 0) throws
    -> [Frame]
  {
    let capture = try Capture("far0", in: pair.far)
    let socket = try LabSocket(.udp, in: pair.near, bound: key.local)
    if trafficClass != 0 { try socket.set(trafficClass: trafficClass) }
    if packetMark != 0 { try socket.set(SOL_SOCKET, SO_MARK, packetMark) }
    try socket.send([UInt8](repeating: 1, count: size), to: key.remote)
    return try capture.frames { $0.transport == 17 && $0.source == key.local.address }
  }

  /// Sends so many bytes over a TCP connection of the flow's and gives all its frames at the far end.
  func stream(_ key: FlowKey, trafficClass: Int32 = 0, size: Int) throws -> [Frame] {
    let listener = try LabSocket(.tcp, in: pair.far, bound: key.remote)
    try listener.listen()
    let capture = try Capture("far0", in: pair.far)
    let socket = try LabSocket(.tcp, in: pair.near, bound: key.local)
    if trafficClass != 0 { try socket.set(trafficClass: trafficClass) }
    try socket.connect(to: key.remote)
    let peer = try listener.accept()
    let reader = Reader(peer, size)
    try socket.send([UInt8](repeating: 2, count: size))
    try reader.wait()
    return try capture.frames { $0.transport == 6 && $0.sourcePort == key.local.port }
  }
}

struct Boxed<T>: ~Copyable {
  let value: T
  init(_ value: T) { self.value = value }
}

/// Reads a stream to its known length in the background, so that the sender never blocks.
private final class Reader: @unchecked Sendable {
  private var thread = pthread_t()
  private let peer: LabSocket
  private let size: Int
  private var count = 0

  // Unchecked: `count` is written by the thread and read after it was joined.
  init(_ peer: LabSocket, _ size: Int) {
    self.peer = peer
    self.size = size
    pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        let reader = Unmanaged<Reader>.fromOpaque(argument).takeUnretainedValue()
        while reader.count < reader.size, let bytes = try? reader.peer.receive(), !bytes.isEmpty {
          reader.count += bytes.count
        }
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  func wait() throws {
    pthread_join(thread, nil)
    try #require(count == size)
  }
}

extension Capture {
  /// The frames that the test is about: waits until there is one, for a second at most, and until no more come.
  func frames(where isWanted: (Frame) -> Bool) throws -> [Frame] {
    var found: [Frame] = []
    for _ in 0..<200 where found.isEmpty { found = try frames(quiet: 5).filter(isWanted) }
    return found
  }
}

extension LabSocket {
  func set(trafficClass: Int32) throws {
    if local.address.isIPv4 {
      try set(Int32(IPPROTO_IP), IP_TOS, trafficClass)
    } else {
      try set(Int32(IPPROTO_IPV6), IPV6_TCLASS, trafficClass)
    }
  }
}

extension FlowKey {
  /// A flow from the near end of the pair to the far one.
  static func near(
    _ local: UInt16, _ remote: UInt16 = 6000, _ transport: TransportProtocol = .udp, isIPv4: Bool = false
  ) -> FlowKey {
    FlowKey(
      local: Endpoint(Address(isIPv4 ? VethPair.near4 : VethPair.near6)!, local),
      remote: Endpoint(Address(isIPv4 ? VethPair.far4 : VethPair.far6)!, remote), transport: transport)
  }

  /// One of many flows, none of which sends anything.
  static func silent(_ number: Int, isIPv4: Bool = false) -> FlowKey {
    let remote =
      isIPv4
      ? Address(ipv4: 0x0a00_0000 + UInt32(number >> 8))
      : Address(high: 0x2001_0db8_0000_0001, low: UInt64(number >> 8))
    return FlowKey(
      local: Endpoint(Address(isIPv4 ? VethPair.near4 : VethPair.near6)!, UInt16(1024 + number & 0xff)),
      remote: Endpoint(remote, 1094), transport: .tcp)
  }
}

extension Mark {
  static func label(_ value: Int, _ entropy: LabelEntropy = .kernel) -> Mark {
    Mark(label: LabelStamp(FlowLabel(value)!, entropy))
  }
  static func dscp(_ value: Int, onlyIfUnset: Bool = false) -> Mark {
    Mark(codePoint: CodePointStamp(CodePoint(value)!, onlyIfUnset: onlyIfUnset))
  }
}
