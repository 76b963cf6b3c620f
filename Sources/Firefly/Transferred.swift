public import Flow

/// Bytes that a flow moved, as its announced source sees them; nil for a direction that was not counted.
public struct Transferred: Hashable, Sendable {
  /// Bytes from the announced source to the announced destination.
  public var sent: UInt64?
  /// Bytes from the announced destination to the announced source.
  public var received: UInt64?

  public init(sent: UInt64? = nil, received: UInt64? = nil) {
    self.sent = sent
    self.received = received
  }
}

extension Announcement {
  /// What is known of the flow's bytes. This host counts what leaves it: the announced source sends that
  /// if it is local, and receives it if it is remote.
  public var transferred: Transferred {
    switch orientation {
    case .outbound: Transferred(sent: usage?.bytes)
    case .inbound: Transferred(received: usage?.bytes)
    }
  }
}
