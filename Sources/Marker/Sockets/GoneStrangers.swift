import Flow

/// Sockets that lately went without being a flow's: a source may be slower to tell of a flow's start than the kernel of
/// its socket's end. Two generations, the older of which is forgotten when the younger is full or old enough.
struct GoneStrangers {
  /// Sockets in a generation: about a megabyte, which only a host fills whose sockets come and go all the time.
  private static let capacity = 8192
  /// Microseconds.
  private static let age: Int64 = 10_000_000

  private var young: [FlowKey: SocketDesk.Gone] = [:]
  private var old: [FlowKey: SocketDesk.Gone] = [:]
  private var began = MonotonicTime(nanoseconds: 0)

  mutating func insert(_ socket: SocketDesk.Gone) {
    let now = socket.time.monotonic
    if young.count >= Self.capacity || now.microseconds(since: began) >= Self.age {
      swap(&young, &old)
      young.removeAll(keepingCapacity: true)
      began = now
    }
    young[socket.key] = socket
  }

  /// The socket of a flow that starts now; it is not remembered afterwards.
  mutating func take(_ key: FlowKey, at now: MonotonicTime) -> SocketDesk.Gone? {
    if young.isEmpty, old.isEmpty { return nil }
    guard let socket = young.removeValue(forKey: key) ?? old.removeValue(forKey: key) else { return nil }
    return now.microseconds(since: socket.time.monotonic) < Self.age ? socket : nil
  }
}
