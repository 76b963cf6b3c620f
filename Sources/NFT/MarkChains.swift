internal import Flow
internal import Glibc

/// The chains of marks come a transaction before the elements that lead to them, and go a transaction after.
///
/// A packet chooses the generation of its rules when it enters our chains, but every map that it looks into answers
/// by the generation of that moment (nft_do_chain and nft_genmask_cur of net/netfilter). A packet that is under way
/// while a transaction takes effect finds a new element by the old rules, in which the chain that comes with it is
/// empty: it would leave unmarked. What both generations hold it finds either way.
extension NFTPath {
  /// Makes the chains of marks that come into use.
  ///
  /// What is refused here is left to the changes' own transaction: it makes what is missing, and its refusal says
  /// which changes are to blame.
  func makeChains(of changes: ArraySlice<ChangeBatch.Change>, except skipped: Set<Int32>) {
    var made: Set<UInt32> = []
    var batch = Batch(table)
    for index in changes.indices where changes[index].action != .unmark && !skipped.contains(Int32(index)) {
      let change = changes[index]
      guard let word = MarkWord(change.mark, isIPv4: change.key.isIPv4), words[word.rawValue] == nil,
        made.insert(word.rawValue).inserted
      else { continue }
      Ruleset.addMark(word, &batch)
    }
    guard !made.isEmpty, (try? socket.commit(batch)) != nil else { return }
    for word in made { words[word] = 0 }
  }

  /// Removes the chains of marks that no flow has any more. One that a rule of somebody else's uses stays, and is
  /// tried again at the next change.
  func removeIdleChains() {
    let idle = words.filter { $0.value == 0 }.keys.compactMap { MarkWord(rawValue: $0) }
    if !idle.isEmpty, !remove(idle), idle.count > 1 {
      for word in idle { _ = remove([word]) }
    }
  }

  /// Whether these chains are gone. Those of which that is not known are made again at their next use, which is
  /// harmless where they are there.
  private func remove(_ idle: [MarkWord]) -> Bool {
    var batch = Batch(table)
    for word in idle { Ruleset.removeMark(word, &batch) }
    do {
      try socket.commit(batch)
    } catch {
      guard error.code == EBUSY else {
        for word in idle { words[word.rawValue] = nil }
        return true
      }
      return false
    }
    for word in idle { words[word.rawValue] = nil }
    return true
  }
}
