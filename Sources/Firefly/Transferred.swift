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
  /// What is known of the flow's bytes. The announced source sends what leaves this host if it is local, and receives
  /// it if it is remote.
  ///
  /// A TCP socket here counts the payload both ways. Of other flows a path counts what leaves, with the headers of IP
  /// and above; their end then has 0 for the direction that nobody counts, because collectors make nothing of an end
  /// with one direction only.
  public var transferred: Transferred {
    let (leaving, arriving): (UInt64?, UInt64?) =
      if let moved { (moved.sent, moved.received) } else {
        (usage?.bytes, state == .end && usage != nil ? 0 : nil)
      }
    return switch orientation {
    case .outbound: Transferred(sent: leaving, received: arriving)
    case .inbound: Transferred(sent: arriving, received: leaving)
    }
  }
}
