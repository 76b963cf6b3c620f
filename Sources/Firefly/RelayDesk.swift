import Flow

/// Received fireflies on their way to the collectors, in the form in which they leave.
struct RelayDesk: ~Copyable {
  private(set) var burst = Burst()
  /// The collector that the burst came from, and does not go to.
  private(set) var sender: Endpoint?
  /// Fireflies that were ever in a burst.
  private(set) var count: UInt64 = 0
  /// A firefly behind its new header.
  private var writer = ByteWriter(capacity: SyslogHeader.maximumSize + FireflyDecoder.largestDatagram)

  /// Adds a firefly of a batch.
  ///
  /// - Parameter sender: who sent it, where that is a collector.
  /// - Returns: false where the burst has to leave first.
  mutating func append(
    _ batch: borrowing RelayBatch, _ index: Int, _ sender: Endpoint?, at now: WallClockTime
  ) -> Bool {
    guard burst.count == 0 || sender == self.sender else { return false }
    let entry = batch.entries[index]
    let isAdded = batch.bytes.withUnsafeBufferPointer { bytes in
      let firefly = UnsafeBufferPointer(rebasing: bytes[entry.start..<entry.start + entry.count])
      guard entry.headerSize == 0 else { return add(firefly, entry.headerSize, entry.experiment) }
      writer.truncate(to: 0)
      // HOSTNAME is whoever sent it, as RFC 5424 §6.2.4 wants of relays; an address will do.
      SyslogHeader.append(host: entry.sender.address.description, application: "marker", to: &writer)
      Timestamp.write(now, to: writer.start + SyslogHeader.timestampOffset)
      let headerSize = writer.count
      writer.append(firefly.span)
      return add(writer.bytes, headerSize, entry.experiment)
    }
    if isAdded {
      self.sender = sender
      count += 1
    }
    return isAdded
  }

  private mutating func add(
    _ firefly: UnsafeBufferPointer<UInt8>, _ headerSize: Int, _ experiment: UInt16
  ) -> Bool {
    guard burst.hasRoom(for: firefly.count) else { return false }
    burst.append(firefly, headerSize: headerSize, .none, experiment: experiment)
    return true
  }

  mutating func removeAll() {
    burst.removeAll()
    sender = nil
  }
}
