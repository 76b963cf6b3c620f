/// What has to be known of a flow to go on with it in another process.
public struct FlowRecord: Equatable, Sendable {
  public let key: FlowKey
  public let tag: SciTag
  public let orientation: Orientation
  public let origin: Origin
  public let holders: Holders
  public let application: ApplicationNames.ID
  public let start: WallClockTime
  /// The label that its packets have, whose entropy bits they keep; nil where they have none.
  public let label: FlowLabel?
  /// A dump of this host's sockets had its socket, so the flow has ended where there is none any more.
  public let hasSocket: Bool

  public init(
    key: FlowKey, tag: SciTag, orientation: Orientation, origin: Origin, holders: Holders,
    application: ApplicationNames.ID, start: WallClockTime, label: FlowLabel?, hasSocket: Bool
  ) {
    self.key = key
    self.tag = tag
    self.orientation = orientation
    self.origin = origin
    self.holders = holders
    self.application = application
    self.start = start
    self.label = label
    self.hasSocket = hasSocket
  }
}

extension Flow {
  public var record: FlowRecord {
    FlowRecord(
      key: key, tag: tag, orientation: orientation, origin: origin, holders: holders,
      application: application, start: start, label: mark?.label?.label, hasSocket: sighting.isSeen)
  }

  init(_ record: FlowRecord, mark: Mark?, counted usage: Usage?, lastSeen: MonotonicTime) {
    self.init(
      key: record.key, tag: record.tag, orientation: record.orientation, application: record.application,
      origin: record.origin, mark: mark, start: record.start, lastSeen: lastSeen)
    holders = record.holders
    counted = usage
    isInherited = true
    // A dump from before all dumps of this process: the first of them that lacks the socket tells of its end.
    if record.hasSocket { sighting = .known }
  }
}

/// What keeps the records of flows beyond the end of the process. Used by the table's writer only.
public protocol FlowMemory: AnyObject {
  /// When the process that kept the records last gave a sign of life. To be asked after `recall`.
  var lastLife: MonotonicTime { get }

  /// Somebody has removed all records: they have to be kept again.
  var hasLostAll: Bool { get }

  /// Hands out every record that was kept, and removes what cannot be understood. To be called before anything else is
  /// kept.
  ///
  /// - Returns: whether all of them have to be kept again, because applications have other numbers now.
  func recall(_ body: (FlowRecord) -> Void) throws(MemoryError) -> Bool

  /// Keeps a flow's record, in place of one that was kept of it.
  func keep(_ record: FlowRecord)

  /// Gives a flow's record up.
  func drop(_ key: FlowKey)

  /// Carries out what was asked for since the last call.
  ///
  /// - Parameter now: the last sign of life of the process.
  /// - Throws: the first thing that failed; the rest was carried out. What may work later is tried again with the next call.
  func settle(at now: MonotonicTime) throws(MemoryError)

  /// Takes so many records from now on, if it did not before.
  func makeRoom(for maxFlows: Int) throws(MemoryError)

  /// Removes all that was kept. Afterwards the memory is of no use any more.
  func forgetAll() throws(MemoryError)
}

/// Why something could not be kept beyond the end of the process.
public struct MemoryError: Error, Sendable {
  /// What failed, on what, and what would help: one line for the operator.
  public let reason: String
  /// It may work when it is tried again: the host lacked something at the moment.
  public let mayPass: Bool

  public init(_ reason: String, mayPass: Bool = false) {
    self.reason = reason
    self.mayPass = mayPass
  }
}

extension MemoryError: CustomStringConvertible {
  public var description: String { reason }
}
