public import Flow
internal import Glibc
internal import Linux

extension NFTPath {
  /// Changes in one transaction. Bounds what the kernel reports back on unmarking, see `NFTSocket.receiveRoom`.
  private static let changesPerTransaction = 10_000
  /// A refused transaction is tried again without its guilty changes; what is refused in one message together, then
  /// one by one, then once more where a change depended on a refused one.
  private static let attempts = 6

  /// Carries a batch's changes into the kernel, thousands of them in one transaction.
  ///
  /// Where the table is gone, the changes are not failures: `isLost` is set, and `restore` carries them out.
  public func apply(_ batch: inout ChangeBatch) {
    batch.withChanges(of: families) { batch in carry(&batch) }
  }

  private func carry(_ batch: inout ChangeBatch) {
    var start = 0
    while start < batch.changes.count {
      let end = min(start + Self.changesPerTransaction, batch.changes.count)
      apply(start..<end, &batch)
      start = end
    }
    removeIdleChains()
  }

  private func apply(_ range: Range<Int>, _ batch: inout ChangeBatch) {
    var options = ChangePlan.Options()
    func fail(_ index: Int32, _ code: Int32) {
      batch.changes[Int(index)].failure = PathFailure(.nft, code: code)
      options.skipped.insert(index)
    }

    // The kernel's nf_tables changes what is in a packet and adds nothing.
    for index in range
    where batch.changes[index].mark.headers != nil && batch.changes[index].action != .unmark {
      fail(Int32(index), EOPNOTSUPP)
    }

    let present: ChangePlan.Present
    do {
      present = try read(batch.changes[range])
    } catch {
      for index in range { fail(Int32(index), error.code) }
      return
    }
    // A flow that is to be marked anew but is not there, and was not marked earlier in the batch.
    for index in range where batch.changes[index].action == .remark {
      let key = batch.changes[index].key
      if present[key] == nil { fail(Int32(index), ENOENT) }
    }

    makeChains(of: batch.changes[range], except: options.skipped)
    var lastCode = EIO
    for _ in 0..<Self.attempts {
      let plan = ChangePlan(batch.changes[range], words, present, table, options)
      guard !plan.batch.isEmpty else { return }
      do {
        var reports = UnmarkReports(plan.unmarking)
        try socket.commit(plan.batch) { reports.take($0, &batch) }
        words = plan.words
        return
      } catch {
        lastCode = error.code
        switch error {
        case .system: break
        case .unanswered:
          if took(batch.changes[range], options.skipped) {
            words = plan.words
            return
          }
          continue
        case .refused(let refusals):
          if error.code == ENOENT, (try? socket.has(table)) == false {
            isLost = true
            return
          }
          if refusals.allSatisfy({ $0.message >= 0 }) {
            for refusal in refusals {
              switch verdict(on: refusal, plan, batch.changes[range]) {
              case .guilty(let indices): for index in indices { fail(index, refusal.code) }
              case .oneOfMany: options.alone = true
              }
            }
            continue
          }
        }
        break
      }
    }
    for index in range where batch.changes[index].failure == nil { fail(Int32(index), lastCode) }
  }

  /// What a refused message stands for.
  private enum Culprit {
    case guilty([Int32])
    /// One of the changes in the message; which one is not said.
    case oneOfMany
  }

  private func verdict(
    on refusal: BatchError.Refusal, _ plan: ChangePlan, _ changes: ArraySlice<ChangeBatch.Change>
  ) -> Culprit {
    if let made = plan.making.first(where: { $0.messages.contains(refusal.message) }) {
      return .guilty(
        changes.indices.lazy.filter {
          let change = changes[$0]
          let word = MarkWord(change.mark, isIPv4: change.key.isIPv4)
          return change.action != .unmark && word?.rawValue == made.word
        }.map { Int32($0) })
    }
    guard case .elements(_, let places) = refusal.subject else { return .guilty([]) }
    return places.count == 1 ? .guilty([plan.batch.owners[places.lowerBound]]) : .oneOfMany
  }

  /// Reads the elements of the flows that are to be marked anew: the kernel cannot change what an element maps to,
  /// so it is replaced, and its count handed on. Packets between reading and replacing are not counted.
  private func read(_ changes: ArraySlice<ChangeBatch.Change>) throws(SystemError) -> ChangePlan.Present {
    var present: ChangePlan.Present = [:]
    var marked: [FlowKey: UInt32] = [:]
    guard changes.contains(where: { $0.action == .remark }) else { return present }
    for change in changes {
      switch change.action {
      case .mark: marked[change.key] = MarkWord(change.mark, isIPv4: change.key.isIPv4)?.rawValue
      case .unmark: break
      case .remark:
        if let word = marked[change.key] {
          if present[change.key] == nil { present[change.key] = (word, Usage()) }
          continue
        }
        let wanted = [Element(key: change.key.element)]
        do throws(SystemError) {
          try socket.elements(wanted[...], of: change.key.map, in: table) { element in
            present[change.key] = (element.mark, element.usage ?? Usage())
          }
        } catch {
          guard error.code == ENOENT else { throw error }
        }
      }
    }
    return present
  }

  /// Whether a transaction took effect whose answer was lost. It did so whole or not at all: one change tells.
  private func took(_ changes: ArraySlice<ChangeBatch.Change>, _ skipped: Set<Int32>) -> Bool {
    var times: [FlowKey: Int] = [:]
    for change in changes { times[change.key, default: 0] += 1 }
    for index in changes.indices where !skipped.contains(Int32(index)) {
      let change = changes[index]
      guard times[change.key] == 1, change.action != .remark else { continue }
      var isThere = false
      let wanted = [Element(key: change.key.element)]
      try? socket.elements(wanted[...], of: change.key.map, in: table) { _ in isThere = true }
      return isThere == (change.action == .mark)
    }
    return false
  }
}

/// Hands the counts of deleted elements to the changes that deleted them.
private struct UnmarkReports {
  private var rest: ArraySlice<Int32>

  init(_ unmarking: [Int32]) { rest = unmarking[...] }

  /// Elements come in the order of the changes; the key makes sure of it.
  mutating func take(_ element: ReportedElement, _ batch: inout ChangeBatch) {
    guard let index = rest.first, let key = FlowKey(element: element.key) else { return }
    guard batch.changes[Int(index)].key == key else { return }
    rest.removeFirst()
    batch.changes[Int(index)].usage = element.usage
  }
}
