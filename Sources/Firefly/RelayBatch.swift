public import Flow

/// Fireflies of others that are to be sent on to the collectors.
public struct RelayBatch: Sendable {
  struct Entry {
    let sender: Endpoint
    let start: Int
    /// 0 for a firefly that came without a header that collectors understand.
    let headerSize: Int
    let count: Int
    let experiment: UInt16
  }

  private(set) var bytes: ContiguousArray<UInt8> = []
  private(set) var entries: ContiguousArray<Entry> = []

  public init() {}

  public var count: Int { entries.count }
  /// Bytes of all fireflies.
  public var size: Int { bytes.count }

  /// Adds what was received, up to the end of its JSON.
  ///
  /// - Parameter experiment: whose flow it tells of.
  public mutating func append(
    _ datagram: Span<UInt8>, json: Range<Int>, from sender: Endpoint, experiment: UInt16
  ) {
    let headerSize = SyslogHeader.isProper(datagram.extracting(0..<json.lowerBound)) ? json.lowerBound : 0
    let first = headerSize > 0 ? 0 : json.lowerBound
    let start = bytes.count
    datagram.extracting(first..<json.upperBound).withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    entries.append(
      Entry(
        sender: sender, start: start, headerSize: headerSize, count: json.upperBound - first,
        experiment: experiment))
  }

  /// Adds all of another batch.
  mutating func append(_ other: borrowing RelayBatch) {
    let base = bytes.count
    bytes.append(contentsOf: other.bytes)
    for entry in other.entries {
      entries.append(
        Entry(
          sender: entry.sender, start: base + entry.start, headerSize: entry.headerSize, count: entry.count,
          experiment: entry.experiment))
    }
  }

  public mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    entries.removeAll(keepingCapacity: true)
  }
}
