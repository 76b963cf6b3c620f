/// Datagrams that wait, in their order, for a collector's address.
struct HeldDatagrams {
  static let limit = 1024

  private var datagrams: ContiguousArray<ContiguousArray<UInt8>> = []
  private var first = 0

  var count: Int { datagrams.count - first }
  var isEmpty: Bool { count == 0 }

  /// - Returns: Whether there was room.
  mutating func append(_ datagram: UnsafeRawBufferPointer) -> Bool {
    guard count < Self.limit else { return false }
    datagrams.append(ContiguousArray(datagram))
    return true
  }

  /// Sends up to `limit` datagrams; it stops where the kernel's buffer is full.
  mutating func send(by socket: borrowing UDPSocket, limit: Int, _ tally: inout Tally) {
    let end = min(first + limit, datagrams.count)
    while first < end {
      let datagram = datagrams[first]
      guard socket.send(datagram.span, &tally) else { break }
      first += 1
    }
    if isEmpty { removeAll() }
  }

  mutating func removeAll() {
    datagrams = []
    first = 0
  }
}
