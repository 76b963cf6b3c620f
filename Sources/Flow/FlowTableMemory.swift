extension FlowTable {
  /// Enters a flow that another process has held until now. It goes on: nothing is announced of it.
  ///
  /// - Parameters:
  ///   - usage: what the path that marks it from now on counts on from.
  ///   - lastSeen: the last sign of life that is known.
  /// - Returns: false where the table has it already or is full.
  @discardableResult
  public mutating func adopt(_ record: FlowRecord, counted usage: Usage?, lastSeen: MonotonicTime) -> Bool {
    guard store.count < limits.maxFlows, store.position(of: record.key) == nil else { return false }
    let mark = mark(for: record.tag, record.key, entropy: record.label?.value)
    store.insert(Flow(record, mark: mark, counted: usage, lastSeen: lastSeen))
    totals.withRow(record.tag, isIPv4: record.key.isIPv4) { $0.flows += 1 }
    return true
  }

  /// Whether `remember` has something to hand over.
  public var hasChangedRecords: Bool { !touched.isEmpty }

  /// Hands the records that have changed since the last call to a memory.
  public mutating func remember(in memory: any FlowMemory) {
    for key in touched {
      if let position = store.position(of: key) {
        memory.keep(store[position].record)
      } else {
        memory.drop(key)
      }
    }
    // What a burst took is given back: memory is in proportion to the flows.
    touched.removeAll(keepingCapacity: touched.count <= Self.usualBurst)
  }

  /// Changes between two calls of `remember` that no new memory is needed for.
  private static let usualBurst = 4096

  /// Has all records handed over with the next call of `remember`.
  public mutating func touchAll() {
    for position in 0..<store.count { touched.append(store[position].key) }
  }
}
