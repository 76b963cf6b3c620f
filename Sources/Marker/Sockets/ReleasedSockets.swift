import Flow

/// Sockets whose flow was ended by its source while they stayed open: their application has told what they are, so no
/// rule makes a flow of them any more.
struct ReleasedSockets {
  /// The last dump that had the socket, nil before the first.
  private var lastSeen: [FlowKey: UInt32?] = [:]

  mutating func insert(_ key: FlowKey) { lastSeen[key] = .some(nil) }

  /// The socket is gone, or it is another.
  mutating func remove(_ key: FlowKey) {
    if !lastSeen.isEmpty { lastSeen[key] = nil }
  }

  func contains(_ key: FlowKey) -> Bool { !lastSeen.isEmpty && lastSeen[key] != nil }

  /// A dump has the socket.
  mutating func note(_ key: FlowKey, dump: UInt32) {
    if contains(key) { lastSeen[key] = .some(dump) }
  }

  /// A dump of a transport's sockets is complete: what it had not is gone. One that came meanwhile has until the next.
  mutating func finish(_ dump: UInt32, of transport: TransportProtocol) {
    guard !lastSeen.isEmpty else { return }
    for (key, seen) in lastSeen where key.transport == transport && seen != dump {
      if seen == nil { lastSeen[key] = .some(dump) } else { lastSeen[key] = nil }
    }
  }
}
